package volume

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"k8s.io/apimachinery/pkg/types"
)

// Size returns how much of the disk an emptyDir takes, in bytes; counting stops
// beyond enough. Links are not followed.
func (m *Manager) Size(ctx context.Context, uid types.UID, name string, enough int64) int64 {
	var sum int64
	stop := errors.New("enough")
	filepath.WalkDir(filepath.Join(m.emptyDirs(uid), name), func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil || sum > enough {
			return stop
		}
		if err != nil || d.IsDir() {
			return nil // gone meanwhile
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}
