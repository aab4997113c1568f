# FAC-Net's class-wise branch on ACM-Net (the idea of FAC-Net's Table 5, on a host of ours; the wiring is ours too).
_base_ = ['../acm_net_synthetic.py']

variant = 'cw'
model = dict(
    heads=dict(cw=dict(type='fac_net.ClassWiseOnHost', channels=64, num_classes=10, background=True)),
    losses=dict(cw=dict(type='VideoCrossEntropy', reads='cw_logits', weight=1.0)))
