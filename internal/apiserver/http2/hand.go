package http2

import "net/http"

// mostResting bounds the goroutines that wait for the next request.
const mostResting = 16

// task is a request to be answered.
type task struct {
	c  *conn
	h  http.Handler
	st *stream
	w  *response
	r  *http.Request
}

// begin has a task done by a goroutine that rests, or a new one. Handlers go
// deep: a stack that has grown once need not grow for each request anew.
func (s *server) begin(t task) {
	select {
	case s.tasks <- t:
	default:
		go s.work(t)
	}
}

// work does one task after another, as long as there are connections and few
// others rest.
func (s *server) work(t task) {
	for {
		t.c.answer(t.h, t.st, t.w, t.r)
		t = task{}
		s.mu.Lock()
		over := s.over
		rest := len(s.conns) > 0 && s.resting < mostResting
		if rest {
			s.resting++
		}
		s.mu.Unlock()
		if !rest {
			return
		}
		end := false
		select {
		case t = <-s.tasks:
		case <-over:
			end = true
		}
		s.mu.Lock()
		s.resting--
		s.mu.Unlock()
		if end {
			return
		}
	}
}
