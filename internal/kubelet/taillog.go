package kubelet

import (
	"bytes"

	"clipper/internal/kubelet/logs"
)

// tailOfLog returns the end of a container's log, bounded in bytes and lines.
func tailOfLog(path string, size, lines int) string {
	var b bytes.Buffer
	if err := logs.Read(&b, path, logs.Options{Tail: int64(lines), Limit: -1, Stdout: true, Stderr: true}); err != nil {
		return ""
	}
	out := b.Bytes()
	return string(out[max(len(out)-size, 0):])
}
