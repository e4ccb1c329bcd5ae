package controller

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	testingclock "k8s.io/utils/clock/testing"
)

// What a loop did is in its metrics; two loops of one name are told apart.
func TestWork(t *testing.T) {
	c := testingclock.NewFakeClock(time.Unix(1e9, 0))
	synced := make(chan string)
	build := func() *Loop[string] {
		return NewLoop("things", Config{Clock: c, Logger: slog.New(slog.DiscardHandler)}, 1, func(_ context.Context, k string) error {
			c.Step(time.Millisecond)
			synced <- k
			if k == "bad" {
				return errors.New("bad")
			}
			return nil
		})
	}
	l, idle := build(), build()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	l.Add("good")
	<-synced
	l.Add("bad")
	<-synced
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewCollector([]Worker{l, idle}))
	const want = `
# HELP workqueue_adds_total Total number of adds handled by workqueue
# TYPE workqueue_adds_total counter
workqueue_adds_total{name="things"} 2
workqueue_adds_total{name="things-2"} 0
# HELP workqueue_retries_total Total number of retries handled by workqueue
# TYPE workqueue_retries_total counter
workqueue_retries_total{name="things"} 1
workqueue_retries_total{name="things-2"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "workqueue_adds_total", "workqueue_retries_total"); err != nil {
		t.Error(err)
	}
	if w := l.Work(); w.Synced.sum != 2*time.Millisecond || w.Depth != 0 {
		t.Errorf("%+v", w)
	}
}

// Syncs under way are told with how long they have taken so far.
func TestUnfinishedWork(t *testing.T) {
	c := testingclock.NewFakeClock(time.Unix(1e9, 0))
	begun, end := make(chan string), make(chan struct{})
	l := NewLoop("things", Config{Clock: c, Logger: slog.New(slog.DiscardHandler)}, 2, func(_ context.Context, k string) error {
		begun <- k
		<-end
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	l.Add("first")
	<-begun
	c.Step(2 * time.Second)
	l.Add("second")
	<-begun
	c.Step(time.Second)
	if err := testutil.CollectAndCompare(NewCollector([]Worker{l}), strings.NewReader(`
# HELP workqueue_longest_running_processor_seconds How many seconds has the longest running processor for workqueue been running.
# TYPE workqueue_longest_running_processor_seconds gauge
workqueue_longest_running_processor_seconds{name="things"} 3
# HELP workqueue_unfinished_work_seconds How many seconds of work has been done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads.
# TYPE workqueue_unfinished_work_seconds gauge
workqueue_unfinished_work_seconds{name="things"} 4
`), "workqueue_longest_running_processor_seconds", "workqueue_unfinished_work_seconds"); err != nil {
		t.Error(err)
	}
	close(end)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if w := l.Work(); w.Unfinished != 0 || w.Longest != 0 {
		t.Errorf("%+v", w)
	}
}
