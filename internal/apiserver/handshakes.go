package apiserver

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// handshakes passes on what net/http logs, and counts the TLS handshakes that
// failed: it tells of them in no other way.
type handshakes struct {
	slog.Handler
	failed *atomic.Uint64
}

// Enabled implements slog.Handler: all is looked at, logged or not.
func (handshakes) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h handshakes) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "http: TLS handshake error from ") {
		h.failed.Add(1)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
