# GauFuse on ACM-Net: ACM-Net first, then 45 epochs on labels made from its own detections, and fusion at test.
_base_ = ['../acm_net_synthetic.py+gaufuse']

ideas = dict(gaufuse=dict(epochs=45))
