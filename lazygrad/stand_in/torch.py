"""lazygrad under the name `torch`, where no finder says so yet: a new process gets the paths of the one that
started it, not its finders."""

import sys

del sys.modules["torch"]  # this file; the import that found it gives what stands under the name afterwards

from lazygrad.torch_name import as_torch  # noqa: E402

as_torch()
