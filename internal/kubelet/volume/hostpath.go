package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	v1 "k8s.io/api/core/v1"
)

// hostPath checks that what is at the path is of the wanted type, and makes a
// directory or file if the type asks for it.
func hostPath(h *v1.HostPathVolumeSource) error {
	kind := v1.HostPathUnset
	if h.Type != nil {
		kind = *h.Type
	}
	if kind == v1.HostPathUnset {
		return nil
	}
	st, err := os.Stat(h.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	fail := func(what string) error {
		return fmt.Errorf("hostPath type check failed: %s is not %s", h.Path, what)
	}
	switch kind {
	case v1.HostPathDirectoryOrCreate:
		if missing {
			return os.MkdirAll(h.Path, 0o755)
		}
		fallthrough
	case v1.HostPathDirectory:
		if missing || !st.IsDir() {
			return fail("a directory")
		}
	case v1.HostPathFileOrCreate:
		if missing {
			f, err := os.OpenFile(h.Path, os.O_CREATE|os.O_RDONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
		fallthrough
	case v1.HostPathFile:
		if missing || !st.Mode().IsRegular() {
			return fail("a file")
		}
	case v1.HostPathSocket:
		if missing || st.Mode()&fs.ModeSocket == 0 {
			return fail("a socket file")
		}
	case v1.HostPathCharDev:
		if missing || st.Mode()&fs.ModeCharDevice == 0 {
			return fail("a character device")
		}
	case v1.HostPathBlockDev:
		if missing || st.Mode()&fs.ModeDevice == 0 || st.Mode()&fs.ModeCharDevice != 0 {
			return fail("a block device")
		}
	default:
		return fmt.Errorf("%s is an invalid volume type", kind)
	}
	return nil
}
