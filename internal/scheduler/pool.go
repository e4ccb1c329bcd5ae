package scheduler

import "sync"

// pool does work in order, with at most a number of goroutines; when there is
// no work, it has none. The zero value needs most to be set.
type pool struct {
	most int
	// bound, if set, is how much work may wait; what exceeds it is dropped.
	bound int

	mu      sync.Mutex
	work    []func()
	running int
	all     sync.WaitGroup
}

// do does f soon. It returns false if there is too much work already.
func (p *pool) do(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bound > 0 && len(p.work) >= p.bound {
		return false
	}
	p.work = append(p.work, f)
	if p.running < p.most {
		p.running++
		p.all.Go(p.run)
	}
	return true
}

func (p *pool) run() {
	for {
		p.mu.Lock()
		if len(p.work) == 0 {
			p.running--
			p.work = nil
			p.mu.Unlock()
			return
		}
		f := p.work[0]
		p.work[0] = nil
		p.work = p.work[1:]
		p.mu.Unlock()
		f()
	}
}

// wait returns when all work is done and no more comes.
func (p *pool) wait() { p.all.Wait() }
