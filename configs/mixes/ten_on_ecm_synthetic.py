# TEN on ECM, which has no attention: the two looks agree on the CAS alone.
_base_ = ['../ecm_synthetic.py+ten']
