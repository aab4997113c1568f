# TEN: the temporal continuity of Li et al. A second look at every video, in which neighbouring snippets are one, must
# agree with the first. The paper has no such table: the wiring is ours.


def idea(
    host,
    scale_weights=True,
    weight=0.1,
    k=4,
    attention=True,
    detach_target=False):
    """The host's batches, optimiser and schedule, from the start on.

    scale_weights: `weight` times what a class weighs in the host's own classification loss.
    k: snippets that become one.
    attention: whether its consistency is asked for too, where the host has one, or only that of the cas.
    """
    share = host.class_weight if scale_weights else 1.0
    host.need('cas')
    losses = dict(ten_cas=dict(type='bges_ten.CASConsistency', detach_target=detach_target, weight=weight * share))
    if attention and host.has('attention'):
        losses['ten_att'] = dict(
            type='bges_ten.AttentionConsistency', detach_target=detach_target, weight=weight * share)
    return dict(model=dict(views=dict(tcb=dict(type='bges_ten.SnippetRepeat', k=k)), losses=losses))
