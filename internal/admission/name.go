package admission

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/validation/path"
)

// badName is what a client says of a name that no object can have, before it
// asks for it.
func badName(name string) error {
	if name == "" {
		return errors.New("resource name may not be empty")
	}
	if texts := path.IsValidPathSegmentName(name); len(texts) > 0 {
		return fmt.Errorf("invalid resource name %q: %v", name, texts)
	}
	return nil
}
