package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestMetrics(t *testing.T) {
	s := &Scheduler{name: DefaultName, index: newIndex(), queue: newQueue()}
	s.queue.items[types.UID("a")] = &item{pod: &v1.Pod{}, at: waiting}
	s.queue.items[types.UID("b")] = &item{pod: &v1.Pod{}, at: gated}
	at := time.Unix(1e9, 0)
	s.counted.attempt(scheduled, at, at.Add(3*time.Millisecond))
	s.counted.attempt(unschedulable, at, at.Add(time.Hour))
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.Collector())
	const want = `
# HELP scheduler_pending_pods Number of pending pods, by the queue type.
# TYPE scheduler_pending_pods gauge
scheduler_pending_pods{queue="active"} 0
scheduler_pending_pods{queue="backoff"} 0
scheduler_pending_pods{queue="gated"} 1
scheduler_pending_pods{queue="unschedulable"} 1
# HELP scheduler_schedule_attempts_total Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.
# TYPE scheduler_schedule_attempts_total counter
scheduler_schedule_attempts_total{profile="default-scheduler",result="error"} 0
scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 1
scheduler_schedule_attempts_total{profile="default-scheduler",result="unschedulable"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "scheduler_pending_pods", "scheduler_schedule_attempts_total"); err != nil {
		t.Error(err)
	}
}
