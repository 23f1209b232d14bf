"""Drop-ins for other tools: change one import line, and keep the rest of the code.

`from fxcost.compat.thop import profile`, `.torchsummary import summary`, `.torchstat import stat`, `.ptflops import
get_model_complexity_info`, `.mmengine import get_model_complexity_info`, `.fvcore import FlopCountAnalysis`,
`.torchinfo import summary`, `.calflops import calculate_flops`, `.deepspeed import get_model_profile`, `.torchprofile
import profile_macs`, `.ultralytics_thop import profile`, `.flop_counter import FlopCounterMode`. Arguments and return
types are the tools' own, and so are the numbers; each is a thin layer on :class:`fxcost.report.Report`. `summary.py` is
`fxcost.summary`: torchinfo's table with fxcost's numbers.

What differs: nothing is computed with real data, the model keeps its buffers and its mode, and a model that is too
large for this machine is no obstacle (only FlopCounterMode has you run the model). Functions that print where the
original prints are the only ones in the library that do. Options that hand the tool code to run on real tensors (custom
hooks and handlers) are refused.

In: what the tool takes. Out: what it returns. May use `analyze` and `conventions`, and `rules` for the counter.
"""
