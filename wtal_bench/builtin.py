"""The core's own components, registered through the plugin door like everyone else's."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register what several methods share."""
    registrar.backbone("RawFeatures", "wtal_bench.modeling.embeddings:RawFeatures")
    registrar.backbone("ConvEmbedding", "wtal_bench.modeling.embeddings:ConvEmbedding")
    registrar.backbone("LayeredEmbedding", "wtal_bench.modeling.embeddings:LayeredEmbedding")
    registrar.head("SnippetClassifier", "wtal_bench.modeling.heads:SnippetClassifier")
    registrar.head("SnippetAttention", "wtal_bench.modeling.heads:SnippetAttention")
    registrar.head("Actionness", "wtal_bench.modeling.heads:Actionness")
    registrar.head("TopKMean", "wtal_bench.modeling.heads:TopKMean")
    registrar.head("AppendBackground", "wtal_bench.modeling.derived:AppendBackground")
    registrar.loss("VideoCrossEntropy", "wtal_bench.modeling.losses:VideoCrossEntropy")
    registrar.loss("Sparsity", "wtal_bench.modeling.losses:Sparsity")
    registrar.loss("CoActivity", "wtal_bench.modeling.co_activity:CoActivity")
    registrar.postprocessor("ThresholdDecoder", "wtal_bench.decoding.postprocessors:ThresholdDecoder")
    registrar.postprocessor("PooledDecoder", "wtal_bench.decoding.postprocessors:PooledDecoder")
    registrar.layout("auto", "wtal_bench.data.importers.layouts:Recognised")
    registrar.layout("wtalc", "wtal_bench.data.importers.layouts:WtalcRelease")
    registrar.extractor("EfficientNetLite0", "wtal_bench.extraction.extractors:EfficientNetLite0")
    registrar.extractor("VideoMAE", "wtal_bench.extraction.extractors:VideoMAE")
