package kubelet

import (
	"testing"
	"time"

	"clipper/internal/kubelet/lifecycle"
)

// Each result of a probe is counted as upstream counts it: a refused connection
// is a failure like others.
func TestProbesAreCounted(t *testing.T) {
	var p probes
	for _, r := range []lifecycle.Result{lifecycle.Success, lifecycle.Refused, lifecycle.Failure, lifecycle.Unknown, lifecycle.Success} {
		p.count("app", lifecycle.Liveness, r, time.Second)
	}
	p.count("app", lifecycle.Startup, lifecycle.Success, 0)
	live := p[probed{"app", lifecycle.Liveness}]
	if len(p) != 2 || live.Type != "Liveness" || live.Successful != 2 || live.Failed != 2 || live.Unknown != 1 || live.Took.Count() != 5 {
		t.Errorf("%+v", live)
	}
}
