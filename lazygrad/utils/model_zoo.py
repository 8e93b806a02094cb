"""`utils.model_zoo`, PyTorch's older name of what is in `hub`."""

from lazygrad.hub import load_state_dict_from_url
from lazygrad.hub import tqdm as tqdm

load_url = load_state_dict_from_url
