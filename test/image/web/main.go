// Command web is the server of the stand-in images: it answers any path on
// 8080 with who it is, and logs each request.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	host, _ := os.Hostname()
	srv := &http.Server{Addr: ":8080", ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		fmt.Fprintf(w, "%s %s %s\n", host, os.Getenv("VERSION"), r.URL.Path)
	})}
	go func() {
		<-end
		os.Exit(0)
	}()
	fmt.Println("web: listening on", srv.Addr)
	fmt.Fprintln(os.Stderr, srv.ListenAndServe())
	os.Exit(1)
}
