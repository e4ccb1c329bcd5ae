// Command web is the program of the stand-in images. Without arguments it is a
// server that answers any path on 8080 with who it is, and logs each request.
// With arguments it is a client, which resolves names as any Go program does:
//
//	web get URL         prints the page
//	web dial HOST:PORT  prints "reached"
//	web lookup NAME     prints the addresses, and the canonical name
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const patience = 5 * time.Second

func main() {
	var err error
	if len(os.Args) == 3 {
		err = client(os.Args[1], os.Args[2])
	} else {
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func client(what, where string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch what {
	case "get":
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(os.Stdout, resp.Body)
		return err
	case "dial":
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", where)
		if err != nil {
			return err
		}
		fmt.Println("reached")
		return conn.Close()
	case "lookup":
		addrs, err := net.DefaultResolver.LookupHost(ctx, where)
		if err != nil {
			return err
		}
		name, err := net.DefaultResolver.LookupCNAME(ctx, where)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			fmt.Println("address", a)
		}
		fmt.Println("name", name)
		return nil
	}
	return fmt.Errorf("%s: get, dial or lookup is known", what)
}

func serve() error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-end
		os.Exit(0)
	}()
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	srv := &http.Server{Addr: ":8080", ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		fmt.Fprintf(w, "%s %s %s\n", host, os.Getenv("VERSION"), r.URL.Path)
	})}
	fmt.Println("web: listening on", srv.Addr)
	return srv.ListenAndServe()
}
