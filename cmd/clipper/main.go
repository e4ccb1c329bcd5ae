// Command clipper is Kubernetes as one program: clusters on this machine, and
// the servers and agents they are made of.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	_ "time/tzdata" // a CronJob may name a time zone on a machine that knows none

	"clipper/internal/cli"
	"clipper/internal/memory/start"
)

// Set by the build.
var (
	version    = "unknown"
	kubernetes = "v1.36.3"
)

func main() {
	start.Over()
	// A link named kubectl is kubectl.
	if filepath.Base(os.Args[0]) == "kubectl" {
		fail(cli.Kubectl(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends what does not heed the first.
	context.AfterFunc(ctx, stop)
	app, err := cli.Main(fmt.Sprintf("%s (Kubernetes %s)", version, kubernetes))
	if err != nil {
		fail(err)
	}
	os.Exit(cli.Execute(ctx, cli.New(app, runNode(), server(), agent())))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "clipper:", err)
	os.Exit(1)
}
