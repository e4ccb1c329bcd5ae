// Package memory keeps a process small while it is quiet, and spares it
// collections while it is busy.
//
// Go collects garbage each time the heap has doubled. A small heap doubles
// often: a server of 15 MB would collect dozens of times a second under load.
// So the heap may always grow by a floor before it is collected; a large one,
// which would double seldom, grows by half. What that costs in memory is given
// back when the process has been quiet for a while: then what is quickly made
// again is let go, the heap is collected, and free pages, the program's own
// among them, return to the system.
//
// Nothing polls. A collection is what tells that the process works; a timer
// runs only between the last collection and the rest that follows it.
package memory

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"k8s.io/utils/clock"
)

const (
	// floor is by how much the heap may grow before it is collected, in bytes.
	floor = 32 << 20
	// quiet is how long after the last collection the process rests.
	quiet = 8 * time.Second
	// worth is how much must be gained for the process to rest, in bytes.
	worth = 4 << 20
)

// Config of a Keeper.
type Config struct {
	Clock clock.WithDelayedExecution
	// Trim is called before the process rests, to let go of what can be made
	// again.
	Trim func()
}

// Keeper keeps the memory of the whole process; there must be only one.
type Keeper struct {
	Config
	// paced is false where GOGC is set: whoever set it decides.
	paced     bool
	percent   int
	collected chan struct{}
}

// New returns a Keeper. The floor holds from here on; Run does the rest.
func New(c Config) *Keeper {
	k := &Keeper{Config: c, paced: os.Getenv("GOGC") == "", percent: 100, collected: make(chan struct{}, 1)}
	// What a process of this size begins with; the first collection corrects it.
	k.pace(floor / 8)
	return k
}

// Run returns when ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	k.listen()
	// The start was work, too.
	timer := k.Clock.NewTimer(quiet)
	defer timer.Stop()
	resting := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.collected:
			k.listen()
			live, gain := look()
			k.pace(live)
			if resting {
				resting = false // this was the collection that a rest begins with
			} else if gain >= worth {
				timer.Reset(quiet)
			}
		case <-timer.C():
			resting = true
			k.rest()
		}
	}
}

// canary is what the next collection finds unused.
type canary struct{ self *canary }

// listen has the end of the next collection told on k.collected.
func (k *Keeper) listen() {
	runtime.AddCleanup(&canary{}, func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}, k.collected)
}

// look returns how much of the heap was in use at the last collection, and how
// much else of it is held, in bytes.
func look() (live, gain uint64) {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	live = s[0].Value.Uint64()
	if held := s[1].Value.Uint64() + s[2].Value.Uint64(); held > live {
		gain = held - live
	}
	return live, gain
}

// pace lets the heap grow by half, or by the floor if that is more.
func (k *Keeper) pace(live uint64) {
	if !k.paced {
		return
	}
	p := percent(live)
	// Setting it stops the world for a moment.
	if d := p - k.percent; d > k.percent/8 || -d > k.percent/8 {
		debug.SetGCPercent(p)
		k.percent = p
	}
}

func percent(live uint64) int {
	const least, most = 50, 1000
	return int(min(most, max(least, 100*floor/max(live, 1))))
}

func (k *Keeper) rest() {
	if k.Trim != nil {
		k.Trim()
	}
	debug.FreeOSMemory()
	dropProgram()
}
