package scheduler

import "sync"

// pool does work in order, with at most a number of goroutines. A few of them
// stay when there is no work: what they do needs deep stacks, and to grow one is
// a good part of the work itself.
type pool struct {
	most int
	// bound, if set, is how much work may wait; what exceeds it is dropped.
	bound int

	mu      sync.Mutex
	work    []func()
	running int // goroutines, the parked ones too
	parked  int
	more    sync.Cond // there is work for one that is parked, or the end
	ended   bool
	all     sync.WaitGroup // of the work
}

// parkedMost is how many goroutines stay without work.
const parkedMost = 16

func newPool(most, bound int) *pool {
	p := &pool{most: most, bound: bound}
	p.more.L = &p.mu
	return p
}

// do does f soon. It returns false if there is too much work already.
func (p *pool) do(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bound > 0 && len(p.work) >= p.bound {
		return false
	}
	p.all.Add(1)
	p.work = append(p.work, f)
	if p.parked >= len(p.work) {
		p.more.Signal()
	} else if p.running < p.most {
		p.running++
		go p.run()
	}
	return true
}

func (p *pool) run() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.work) == 0 {
			p.work = nil
			if p.ended || p.parked >= parkedMost {
				p.running--
				return
			}
			p.parked++
			p.more.Wait()
			p.parked--
		}
		f := p.work[0]
		p.work[0] = nil
		p.work = p.work[1:]
		p.mu.Unlock()
		f()
		p.all.Done()
		p.mu.Lock()
	}
}

// wait returns when all work is done and no more comes.
func (p *pool) wait() { p.all.Wait() }

// end waits, and leaves no goroutine.
func (p *pool) end() {
	p.wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.more.Broadcast()
}
