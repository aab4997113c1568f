"""GauFuse against numbers of the authors' fusion, linear programs, labels, schedule and test path, stage by stage.

Fused coordinates that should be whole may lie an ulp below; later steps truncate them. So every stage starts from the
file's own numbers, and the linear programs do not snap.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.helpers import REPOSITORY, golden_files, load_golden
from tests.parity.host_files import assert_near
from tests.parity.rskp_batches import batch_of, settings
from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.evaluation import DetectionTable, GroundTruth, classification_ap, classification_map, evaluate
from wtal_bench.interfaces import VideoMeta
from wtal_bench.modeling.weights import LossWeight
from wtal_bench.running.config import load_config
from wtal_bench.running.schedule import learning_rate
from wtal_plugins.gaufuse.decoder import FusedDecoder, candidates_of
from wtal_plugins.gaufuse.fusion import Fusion
from wtal_plugins.gaufuse.label_store import LabelStore, VideoLabels
from wtal_plugins.gaufuse.labels import PseudoLabels
from wtal_plugins.gaufuse.linpro import EMPTY, INFEASIBLE, SOLVED, LinPro, Problem
from wtal_plugins.gaufuse.losses import PseudoLabelLoss
from wtal_plugins.gaufuse.snippet_classes import snippet_classes

GAUFUSE = load_config(REPOSITORY / "configs" / "gaufuse_thumos.py")
RSKP = load_config(REPOSITORY / "configs" / "rskp_thumos.py")
LABELS = GAUFUSE.model["heads"]["labels"]
STRICT = LinPro(snap=False)


def files(kind: str) -> list:
    return golden_files("gaufuse", f"{kind}__*.npz")


def instances(fused) -> np.ndarray:
    return np.stack([fused.start, fused.end, fused.confidence], axis=1)


def numbered(golden: dict, prefix: str) -> list[int]:
    return sorted(int(key.removeprefix(prefix)) for key in golden if key.startswith(prefix))


def video(number: int, snippets: int) -> VideoMeta:
    return VideoMeta(str(number), snippets * 0.64, fps=25.0, stride=16, num_snippets=snippets)


# ---- fusion ----


@pytest.mark.parametrize("path", files("gaussian_fusion"))
def test_fusion_in_the_order_of_picking(path):
    golden = load_golden(path)
    for i in range(int(golden["cfg/n_cases"])):
        candidates = golden[f"in/cand_{i}"].reshape(-1, 4).T
        for j, overlap in enumerate(golden["cfg/h_fuse"]):
            for k, temperature in enumerate(golden["cfg/temperatures"]):
                fusion = Fusion(temperature=float(temperature), overlap=float(overlap))
                fused = fusion(*candidates, np.zeros(candidates.shape[1], dtype=int))
                assert_near(instances(fused), golden[f"out/fused_{i}_h{j}_t{k}"].reshape(-1, 3))
                np.testing.assert_array_equal(fused.picked, golden[f"out/pick_{i}_h{j}"].reshape(-1))


# ---- linear programs ----


def check_label(golden: dict, column: int, problem: Problem, suffix: str = "") -> None:
    """One class's label against the file, as far as the optimum is unique."""
    (ours,) = STRICT([problem])
    np.testing.assert_allclose(ours.label, golden["out/G"][:, column], rtol=0, atol=1e-7)
    if f"out/W_{column}" in golden:
        check_classes(golden, column, problem)
    if "out/G_vertex_averaged" not in golden:
        return
    W, q = golden[f"out/W_{column}"].astype(float), problem.confidence
    objective, width = (
        float(golden[f"out/{name}{suffix}"] if suffix else golden[f"out/{name}"][column])
        for name in ("objective", "opt_face_width")
    )
    np.testing.assert_allclose(ours.objective, objective, rtol=1e-6, atol=1e-6)
    unique = width <= 1e-7
    (vertex,) = LinPro("vertex_average", snap=False)([problem])
    (centre,) = LinPro("analytic_center", snap=False)([problem])
    for label in (ours.label, vertex.label, centre.label):
        np.testing.assert_allclose(W @ label, q, rtol=0, atol=1e-6)
        assert label.min() >= 0
        assert label.max() <= 1
        np.testing.assert_allclose(label.sum(), objective, rtol=1e-6, atol=1e-6)
        if unique:
            np.testing.assert_allclose(label, golden["out/G_vertex_averaged"][:, column], rtol=0, atol=1e-7)
    stored = golden["out/G_analytic_center"][:, column]
    np.testing.assert_allclose(centre.label, stored, rtol=0, atol=5e-3 * stored.max())
    check_centre(problem, centre.label)


def check_classes(golden: dict, column: int, problem: Problem) -> None:
    """Equal partitions of the snippets, and the very columns of W."""
    ours, W = snippet_classes(problem, snap=False), golden[f"out/W_{column}"]
    spread = np.stack([ours.spread(row) for row in ours.columns.astype(float)])
    np.testing.assert_array_equal(spread, W)
    if f"out/class_of_snippet_{column}" in golden:
        stored = golden[f"out/class_of_snippet_{column}"]
        assert len(np.unique(np.stack([ours.of_snippet, stored]), axis=1).T) == len(np.unique(stored))
        sizes = np.bincount(ours.of_snippet)
        assert sorted(sizes[sizes > 0]) == sorted(golden[f"out/class_sizes_{column}"])


def check_centre(problem: Problem, label: np.ndarray) -> None:
    """No direction of the optimal face improves the barrier: its gradient there is orthogonal to the face."""
    classes = snippet_classes(problem, snap=False)
    first = np.unique(classes.of_snippet, return_index=True)[1][: len(classes.sizes)]
    h, n = label[first], classes.sizes
    # a class within rounding of a bound on the whole face does not vary
    free = (h > 1e-7) & (h < 1 - 1e-7)
    equations = (np.vstack([classes.columns, np.ones(len(n))]) * n)[:, free]
    gradient = n[free] * (1 / h[free] - 1 / (1 - h[free]))
    _, size, right = np.linalg.svd(equations)
    face = right[(size > 1e-9).sum() :]
    assert np.abs(face @ gradient).max(initial=0.0) <= 1e-6 * max(1.0, np.abs(gradient).max(initial=0.0))


@pytest.mark.parametrize("path", files("linpro"))
def test_labels_of_given_instances(path):
    golden = load_golden(path)
    snippets, columns = int(golden["cfg/T"]), int(golden["cfg/K"])
    empty = np.zeros((0, 3))
    problems = [Problem(snippets, *golden.get(f"in/inst_{c}", empty).reshape(-1, 3).T) for c in range(columns)]
    solutions = STRICT(problems)
    for column, (problem, solution) in enumerate(zip(problems, solutions)):
        status = int(golden["out/status"][column])
        assert solution.status == status, column
        for selection in ("vertex_average", "analytic_center"):
            (other,) = LinPro(selection, snap=False)([problem])
            assert other.status == status, (column, selection)
        if status == SOLVED:
            check_label(golden, column, problem)
        else:
            assert status in (EMPTY, INFEASIBLE)
            assert not solution.label.any()
            if f"out/W_{column}" in golden:
                check_classes(golden, column, problem)


def solvable(golden: dict, column: int, problem: Problem) -> bool:
    """Whether the file has a solution; we must agree. (Without one it holds the old solver's last iterate.)"""
    prefix = "in/cand_" if f"in/cand_{column}" in golden else "out/inst_"
    status = golden["out/lp_status"][numbered(golden, prefix).index(column)]
    (ours,) = STRICT([problem])
    assert ours.status == status, column
    assert status == SOLVED or not ours.label.any()
    return status == SOLVED


@pytest.mark.parametrize("path", golden_files("gaufuse", "real__*.npz", travels=False))
def test_fusion_and_labels_of_real_videos(path):
    golden = load_golden(path)
    fusion = Fusion(temperature=float(golden["cfg/temperature"]), overlap=float(golden["cfg/h_fuse"]))
    for column in numbered(golden, "in/cand_"):
        candidates = golden[f"in/cand_{column}"].T
        fused = instances(fusion(*candidates, np.zeros(candidates.shape[1], dtype=int)))
        stored = golden[f"out/fused_{column}"]
        assert_near(fused[np.argsort(-fused[:, 2], kind="stable")], stored)
        if solvable(golden, column, Problem(int(golden["cfg/T"]), *stored.T)):
            check_label(golden, column, Problem(int(golden["cfg/T"]), *stored.T), f"_{column}")


# ---- differences and the schedule ----


def labels_from(generations: list[np.ndarray], epochs: list[int], schedule: list) -> PseudoLabels:
    """The head with its generations given: [T,columns] each."""
    made = iter(generations)
    columns = generations[0].shape[1]
    head = PseudoLabels(columns, dict(LABELS["decoder"]), epochs, schedule)

    def generate(training_pass, fusion):
        return LabelStore({"0": VideoLabels(np.arange(columns), next(made).T.copy())}), {}

    head.generate = generate
    return head


def labels_at(head: PseudoLabels, epoch: int, snippets: int) -> torch.Tensor:
    batch = batch_of([np.zeros((snippets, 1))], np.zeros((1, 1)), epoch=epoch)
    return head({}, batch)["pseudo_labels"][0]


@pytest.mark.parametrize("path", files("delta"))
def test_differences_and_their_loss(path):
    golden = load_golden(path)
    cfg = settings(golden)
    generations = list(golden["in/G"])
    epochs = golden["cfg/generation_epochs"].tolist()
    schedule = [
        (epochs[0] + 1, "absolute", 1.0),
        (251, "delta", cfg["scale_251_300"]),
        (301, "delta", cfg["scale_301"]),
    ]
    assert [tuple(entry) for entry in LABELS["schedule"]] == [
        (201, "absolute", 1.0),
        (251, "delta", 2.0),
        (301, "delta", 2.15),
    ]
    head = labels_from(generations, epochs, schedule)
    weight = LossWeight(GAUFUSE.model["losses"]["pseudo"]["weight"], "golden")
    for epoch in range(max(golden["cfg/epochs"]) + 1):
        head.begin_epoch(epoch, None)
        if epoch not in golden["cfg/epochs"]:
            continue
        delta = labels_at(head, epoch, generations[0].shape[0])
        assert_near(delta, golden[f"out/delta_{epoch}"], what=f"delta {epoch}")
        logits = [torch.tensor(golden[f"in/{name}"], requires_grad=True) for name in ("o_frm", "m_frm")]
        batch = batch_of([np.zeros((len(delta), 1))], np.zeros((1, 1)), epoch=epoch)
        read = {"cas": logits[0], "propagated_cas": logits[1], "pseudo_labels": delta.unsqueeze(0)}
        raw = PseudoLabelLoss(share=cfg["frm_coef_pseudo"])(read, batch)["pseudo"]
        assert_near(raw, golden[f"loss/raw_{epoch}"], what=f"raw {epoch}")
        assert_near(weight.at("pseudo", epoch), golden[f"loss/weight_{epoch}"], what=f"weight {epoch}")
        (weight.at("pseudo", epoch) * raw).backward()
        for name, tensor in zip(("o_frm", "m_frm"), logits):
            assert_near(tensor.grad, golden[f"grad/{name}_{epoch}"], what=f"grad {name} {epoch}")


@pytest.mark.parametrize("path", files("schedule"))
def test_published_config_follows_the_official_loop(path):
    golden = load_golden(path)
    epochs = golden["cfg/generation_epochs"].tolist()
    losses = GAUFUSE.model["losses"]
    assert LABELS["generations"] == epochs
    assert_near(LABELS["temperatures"], golden["out/generation_temperature"], what="temperatures")
    dropout = golden["out/generation_dropout_active"].tolist()
    kept = GAUFUSE.model["backbone"]["dropout_in_passes"]
    assert [epoch in kept for epoch in epochs] == dropout
    assert_near(LABELS["temperatures"], golden["out/fusion_temperature"][epochs], what="temperatures of the fusion")

    every = range(len(golden["out/lr"]))
    assert GAUFUSE.train.epochs == len(every)
    assert_near([learning_rate(GAUFUSE.train, epoch) for epoch in every], golden["out/lr"], what="lr")
    for name, scalar, stored in (("spl", "distillation", "spl_weight"), ("pseudo", "pseudo", "pseudo_weight")):
        weight = LossWeight(losses[name]["weight"], "golden")
        ours = [weight.at(scalar, epoch) for epoch in every]
        np.testing.assert_allclose(ours, golden[f"out/{stored}"], rtol=1e-6, err_msg=stored)  # stored as float32

    memory = GAUFUSE.model["heads"]["memory"]
    assert ["label", "first"][all(slot == 0 for slot in golden["out/memory_slots_first"])] == memory["slot"]
    empty = np.flatnonzero(golden["out/memory_score_sum_before_step"] == 0)
    ours = {*range(memory["start"]), *memory["clear_at"]}
    assert set(empty.tolist()) == ours

    head = labels_from(list(golden["in/G"]), epochs, LABELS["schedule"])
    snippets = golden["in/G"].shape[1]
    assert set(golden["out/epochs_sampled"].tolist()) == set(numbered(golden, "out/pred_label_"))
    for epoch in every:
        head.begin_epoch(epoch, None)
        if f"out/pred_label_{epoch}" in golden:
            ours = labels_at(head, epoch, snippets)
            np.testing.assert_allclose(ours, golden[f"out/pred_label_{epoch}"], rtol=0, atol=1e-6, err_msg=str(epoch))


# ---- from network outputs ----


def decoder_of(golden: dict, like: dict, columns: int | None) -> dict:
    """A config's candidate decoder with the file's thresholds."""
    decoder = copy.deepcopy(like)
    thresholds = golden.get("cfg/thresholds")
    if thresholds is None:
        names = ("start_threshold", "end_threshold", "threshold_interval")
        thresholds = np.arange(*(float(golden[f"cfg/{name}"]) for name in names))
    decoder |= dict(
        thresholds=thresholds.tolist(), class_threshold=float(golden["cfg/class_threshold"]), num_classes=columns
    )
    return decoder


def network_outputs(golden: dict, suffix: str = "") -> dict:
    """The fields of RSKP from a file's branch outputs; video scores as its head mixes them."""
    own, walked = (golden[f"in/{branch}_vid{suffix}"] for branch in ("o", "m"))
    return {
        "cas": golden[f"in/o_frm{suffix}"],
        "m.cas": golden[f"in/m_frm{suffix}"],
        "attention": golden[f"in/o_att{suffix}"],
        "video_prob": np.float32(0.6) * own + np.float32(0.4) * walked,
    }


@pytest.mark.parametrize("path", files("pseudo"))
def test_from_network_outputs_to_labels(path):
    golden = load_golden(path)
    columns = golden["out/cas"].shape[1]
    spec = decoder_of(golden, LABELS["decoder"], None)
    shares = spec["curve"]["product"][0]["sum"]
    shares[0]["weight"], shares[1]["weight"] = (
        float(golden["cfg/frm_coef_pseudo"]),
        1 - float(golden["cfg/frm_coef_pseudo"]),
    )
    heat = float(golden["cfg/dist_temperature"])
    head = PseudoLabels(columns, spec, [0], LABELS["schedule"], heat, linpro=dict(snap=False))
    outputs, meta = network_outputs(golden), video(0, len(golden["out/cas"]))
    np.testing.assert_allclose(head.decoder.video_scores(outputs), golden["out/vid"], rtol=0, atol=1e-6)
    kept, curve, _ = head.decoder.curves(outputs, meta)
    np.testing.assert_allclose(curve, golden["out/cas"][:, kept], rtol=0, atol=1e-6)

    # bit-exact candidates from the file's own CAS, then their fusion, then the file's own instances
    own = ThresholdDecoder(**{**spec, "curve": "cas", "scores": "video_prob"})
    found = candidates_of(own, {"cas": golden["out/cas"], "video_prob": golden["out/vid"]}, meta)
    assert sorted(set(found.label.tolist())) == numbered(golden, "out/cand_")
    fused = head.generations[0].candidates(found)
    for column in numbered(golden, "out/inst_"):
        rows = found.take(found.label == column)
        stored = np.stack([rows.start, rows.end, rows.score, rows.inside], axis=1)
        np.testing.assert_array_equal(stored, golden[f"out/cand_{column}"])
        ours = fused.take(fused.label == column)
        assert_near(np.stack([ours.start, ours.end, ours.score], axis=1), golden[f"out/inst_{column}"])
    expected = golden["out/G"]
    problems = {c: Problem(len(expected), *golden[f"out/inst_{c}"].T) for c in numbered(golden, "out/inst_")}
    assert not np.delete(expected, list(problems), axis=1).any()
    for column, problem in problems.items():
        if solvable(golden, column, problem):
            (ours,) = STRICT([problem])
            np.testing.assert_allclose(ours.label, expected[:, column], rtol=0, atol=1e-7)


def per_class(parts: list[tuple[int, object]]) -> np.ndarray:
    """Rows (class, video, start, end, confidence): per class over all videos by falling confidence, stable."""
    rows = np.concatenate([np.column_stack([p.label, np.full(len(p), v), p.start, p.end, p.score]) for v, p in parts])
    return rows[np.lexsort((-rows[:, 4], rows[:, 0]))]


@pytest.mark.parametrize("path", files("proposals"))
def test_instances_by_fusion_and_by_nms(path):
    golden = load_golden(path)
    columns = golden["in/vid_0"].shape[0]
    spec = decoder_of(golden, LABELS["decoder"], columns - 1) | {"curve": "cas"}
    own = ThresholdDecoder(**spec)
    temperature = float(golden["cfg/eval_temperature"])
    found = []
    for v in range(int(golden["cfg/n_videos"])):
        outputs = {"cas": golden[f"in/cas_{v}"], "video_prob": golden[f"in/vid_{v}"]}
        found.append((v, candidates_of(own, outputs, video(v, len(outputs["cas"])))))
    for distribution in ("gaussian", "nms"):
        fusion = Fusion(temperature=temperature, distribution=distribution)
        rows = per_class([(v, fusion.candidates(part)) for v, part in found])
        assert_near(rows, golden[f"out/instances_{'fused' if distribution == 'gaussian' else 'nms'}"])
        if distribution == "gaussian":
            assert_near(rows[:, 2:4] * 16 / 25, golden["out/seconds_fused"])


# ---- the test path ----


def scored(golden: dict, rows: np.ndarray, videos: int, classes: int):
    """Evaluate rows (class, video, start, end, confidence) in snippets as the authors' loop does."""
    ids, names = [str(v) for v in range(videos)], [str(c) for c in range(classes)]
    ambiguous = golden.get("in/ambiguous")
    truth = GroundTruth(names, ids, *golden["in/gt"].T, *(() if ambiguous is None else ambiguous.T))
    table = DetectionTable(ids, *rows[:, [1, 0, 2, 3, 4]].T, unit="snippets")
    return evaluate(
        table,
        truth,
        golden["cfg/iou"],
        grid=float(golden["cfg/factor"]),
        ties="first_first",
        instance_ties="first_first",
        videos="annotated",
        empty_class="zero_all",
        ambiguous=None if ambiguous is None else "drop",
    )


@pytest.mark.parametrize("path", files("testpath"))
def test_decoder_of_the_published_config_and_its_score(path):
    golden = load_golden(path)
    classes, videos = int(golden["cfg/n_classes"]), int(golden["cfg/n_videos"])
    code, overlap = str(golden["cfg/code"]), float(golden["cfg/h"])
    config = {"rskp": RSKP, "gaufuse": GAUFUSE}[code].model["postprocessor"]
    own = {key: value for key, value in config.items() if key not in ("type", "nms")}
    spec = decoder_of(golden, own if code == "rskp" else config["decoder"], classes)
    source = "in" if "in/cas_0" in golden else "out"
    if source == "out":
        for part, share in zip(
            spec["curve"]["product"][0]["sum"], (golden["cfg/frm_coef"], 1 - golden["cfg/frm_coef"])
        ):
            part["weight"] = float(share)
        check_curves(golden, ThresholdDecoder(**spec), videos)
    spec["curve"] = "cas"
    if str(golden["cfg/final"]) == "nms":
        fusion = dict(distribution="nms", overlap=overlap)
    else:
        own = GAUFUSE.model["postprocessor"]["fusion"]
        fusion = {**own, "overlap": overlap, "temperature": float(golden["cfg/eval_temperature"])}
    decoder = published = FusedDecoder(spec, fusion, clamp=False)
    if code == "rskp" and fusion["distribution"] == "nms":
        published = ThresholdDecoder(**spec, nms={**config["nms"], "iou": overlap}, clamp="none")
    candidates, found, seconds = [], [], []
    for v in range(videos):
        if v not in golden["in/gt"][:, 0]:
            continue
        outputs = {"cas": golden[f"{source}/cas_{v}"], "video_prob": golden[f"{source}/vid_{v}"]}
        meta = video(v, len(outputs["cas"]))
        own = candidates_of(decoder.decoder, outputs, meta)
        own = own.take(np.isin(own.label, golden["in/gt"][:, 1]))
        columns = [np.full(len(own), v), own.start, own.end, own.score, own.inside]
        candidates.append((own.label, np.stack(columns, axis=1)))
        found.append((v, decoder.fusion.candidates(own)))
        detections = published(outputs, meta)
        seconds.append(detections.take(np.isin(detections.label, golden["in/gt"][:, 1])))
    labels = np.concatenate([label for label, _ in candidates])
    rows = np.concatenate([row for _, row in candidates])[np.argsort(labels, kind="stable")]
    stored = golden["out/candidates"]
    np.testing.assert_array_equal(rows[:, : stored.shape[1]], stored)
    rows = per_class(found)
    stored = golden.get("out/instances_unfiltered", golden["out/instances"])
    assert_near(rows, stored)
    in_seconds = [(v, s.label, s.start, s.end, s.score) for (v, _), s in zip(found, seconds)]
    flat = np.concatenate([np.column_stack([c, np.full(len(c), v), a, b, q]) for v, c, a, b, q in in_seconds])
    assert_near(flat[np.lexsort((-flat[:, 4], flat[:, 0]))], stored * [1, 1, 0.64, 0.64, 1])
    if "out/seconds" in golden:  # of what their filter leaves
        assert_near(golden["out/instances"][:, 2:4] * 0.64, golden["out/seconds"])

    result = scored(golden, stored, videos, classes)
    assert_near(result.mAP * 100, golden["out/map"])
    if "out/ap" in golden:
        assert_near(result.ap.T, golden["out/ap"])
    if "out/avg" in golden:
        assert_near(np.mean(result.mAP) * 100, golden["out/avg"])
    if "out/cls_map" in golden:
        scores = np.stack([golden[f"{source}/vid_{v}"][:classes] for v in range(videos)]).astype(np.float64)
        assert_near(classification_map(scores, golden["in/labels"]) * 100, golden["out/cls_map"], 1e-5)


def check_curves(golden: dict, decoder, videos: int) -> None:
    """The network's float32 outputs give the file's CAS and video scores."""
    for v in range(videos):
        outputs = network_outputs(golden, f"_{v}")
        kept, curve, _ = decoder.curves(outputs, video(v, len(outputs["cas"])))
        np.testing.assert_allclose(curve, golden[f"out/cas_{v}"][:, kept], rtol=0, atol=1e-6)
        scores = decoder.video_scores(outputs)
        np.testing.assert_allclose(scores, golden[f"out/vid_{v}"][: len(scores)], rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", files("detmap"))
def test_detection_map(path):
    golden = load_golden(path)
    result = scored(golden, golden["in/instances"], int(golden["cfg/n_videos"]), int(golden["cfg/n_classes"]))
    assert_near(result.mAP * 100, golden["out/map"])
    if "out/ap" in golden:
        assert_near(result.ap.T, golden["out/ap"])


@pytest.mark.parametrize("path", files("clsmap"))
def test_classification_map(path):
    golden = load_golden(path)
    labels = golden["in/labels"]
    scores = golden["in/vid"][:, : labels.shape[1]].astype(np.float64)
    assert_near(classification_ap(scores, labels), golden["out/ap"], 1e-5)
    assert_near(classification_map(scores, labels) * 100, golden["out/cls_map"], 1e-5)
