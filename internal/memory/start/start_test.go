package start

import (
	"runtime/debug"
	"testing"
)

// There is no collection until the start is over.
func TestOver(t *testing.T) {
	at := debug.SetGCPercent(-1)
	if at != -1 {
		t.Errorf("the collector runs at %d %% during the start", at)
	}
	Over()
	want := told
	if told == usual {
		want = roomy
	}
	if got := debug.SetGCPercent(want); got != want {
		t.Errorf("then it runs at %d %%, want %d", got, want)
	}
}
