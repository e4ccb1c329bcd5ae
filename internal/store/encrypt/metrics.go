package encrypt

import (
	"path"
	"time"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
)

// transformation is what is counted together: what was done to values of a
// prefix, and whether it could be.
type transformation struct {
	kind   string
	prefix int
	failed bool
}

const (
	toStorage   = "to_storage"
	fromStorage = "from_storage"
)

// Bounds, which are upstream's, in seconds.
var transformationBounds = prometheus.ExponentialBuckets(5e-6, 2, 25)

func newTransformation(transformation) *measure.Histogram {
	return measure.Seconds(transformationBounds)
}

func (s *Store) count(key, kind string, began time.Time, err error) {
	s.counts.Get(transformation{kind, s.prefix(key), err != nil}, newTransformation).Took(s.clock.Since(began))
}

// Collector returns upstream's metrics of encryption.
func (s *Store) Collector() prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("apiserver_storage_transformation_"+name, help, append(labels, "transformation_type", "transformer_prefix"), nil)
	}
	total := d("operations_total", "Total number of transformations. Successful transformation will have a status 'OK' and a varied status string when the transformation fails.", "resource", "status")
	took := d("duration_seconds", "Latencies in seconds of value transformation operations.")
	return measure.Collector(func(out measure.Out) {
		good := map[string][]*measure.Histogram{}
		for of, h := range s.counts.All() {
			status := "OK"
			if of.failed {
				status = "Unknown"
			} else {
				good[of.kind] = append(good[of.kind], h)
			}
			out.Counter(total, h.Count(), path.Base(s.prefixes[of.prefix]), status, of.kind, form)
		}
		for kind, all := range good {
			out.Histogram(took, measure.Together(all...), kind, form)
		}
	})
}
