package system

import (
	"net/http"
	"net/http/pprof"
)

// profiles serves the process's profiles under /debug/pprof/, as upstream's
// servers do. Authorisation comes before it: nobody but administrators, and who
// a role lets in by path, may ask.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
