package admission

import "errors"

// ErrDryRun is what Finish is told when a write passed but was only tried.
var ErrDryRun = errors.New("dry run: nothing was written")
