package kubelet

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/logs"
)

const (
	// maxLog is the size at which a container's log is rotated, maxLogFiles how
	// many files of it are kept.
	maxLog      = 10 << 20
	maxLogFiles = 5
)

// rotateLogs rotates the logs that have become too large.
func (k *Kubelet) rotateLogs(ctx context.Context) {
	paths, err := filepath.Glob(filepath.Join(k.LogDir, "*", "*", "*.log"))
	if err != nil {
		k.Logger.Error("logs not listed", "dir", k.LogDir, "err", err)
		return
	}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil || st.Size() < maxLog {
			continue
		}
		id := k.writerOf(ctx, path)
		if id == "" {
			continue // it has ended: the log will not grow
		}
		err = logs.Rotate(path, k.Clock.Now(), maxLogFiles, func() error {
			return k.Runtime.ReopenContainerLog(ctx, id)
		})
		if err != nil && ctx.Err() == nil {
			k.Logger.Warn("log not rotated", "path", path, "err", err)
		}
	}
}

// writerOf returns the ID of the running container that writes the log, or "".
func (k *Kubelet) writerOf(ctx context.Context, path string) (id string) {
	dir := filepath.Dir(path)
	container, pod := filepath.Base(dir), filepath.Base(filepath.Dir(dir))
	attempt, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".log"))
	if err != nil {
		return ""
	}
	a := k.actor(types.UID(pod[strings.LastIndexByte(pod, '_')+1:]))
	if a == nil {
		return ""
	}
	a.ask(ctx, func(s *lifecycle.State) {
		if c := s.Container(container); c != nil && c.Cur != nil && c.Cur.Phase == lifecycle.Running && int(c.Cur.Attempt) == attempt {
			id = c.Cur.ID
		}
	})
	return id
}
