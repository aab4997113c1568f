# TEN's CAS consistency on ECM: a second look at every video, one snippet repeated over every four, in the same forward.
_base_ = ['../ecm_synthetic.py']

variant = 'ten'
model = dict(
    views=dict(tcb=dict(type='bges_ten.SnippetRepeat', k=4)),
    losses=dict(ten=dict(type='bges_ten.CASConsistency', weight=0.1)))
