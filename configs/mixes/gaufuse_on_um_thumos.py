# GauFuse on UM, THUMOS14 (GauFuse Table 5 prints 40.4 -> 42.3). The table calls the host WUM.
_base_ = ['../um_thumos.py+gaufuse']
