package admission

import (
	"strconv"
	"time"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
)

// durations are those of a plugin or of a whole step, by what became of which
// operation.
type durations struct {
	measure.Set[outcome, measure.Histogram]
}

type outcome struct {
	operation Operation
	rejected  bool
}

// stepBounds are upstream's, in seconds.
var stepBounds = []float64{0.005, 0.025, 0.1, 0.5, 1, 2.5}

func newDuration(outcome) *measure.Histogram { return measure.Seconds(stepBounds) }

func (d *durations) count(o Operation, err error, took time.Duration) {
	d.Get(outcome{o, err != nil}, newDuration).Took(took)
}

// Collector returns upstream's metrics of admission.
func (c *Chain) Collector() prometheus.Collector {
	ends := []string{"type", "operation", "rejected"}
	steps := prometheus.NewDesc("apiserver_admission_step_admission_duration_seconds", "How long all plugins took, for each step (admit or validate), operation, and whether it was rejected.", ends, nil)
	plugins := prometheus.NewDesc("apiserver_admission_controller_admission_duration_seconds", "How long a plugin took, by its name, for each step (admit or validate), operation, and whether it was rejected.", append([]string{"name"}, ends...), nil)
	return measure.Collector(func(out measure.Out) {
		for kind, s := range map[string]*step{"admit": &c.admit, "validate": &c.validate} {
			for o, h := range s.took.All() {
				out.Histogram(steps, h, kind, string(o.operation), strconv.FormatBool(o.rejected))
			}
			for i := range s.calls {
				for o, h := range s.calls[i].took.All() {
					out.Histogram(plugins, h, s.calls[i].Name(), kind, string(o.operation), strconv.FormatBool(o.rejected))
				}
			}
		}
	})
}
