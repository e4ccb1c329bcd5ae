// Command compare shows where two clusters differ in what a client sees: it
// makes the same objects in both, and compares what becomes of them.
//
//	compare record -kubeconfig FILE [-for 90s] OUT
//	compare diff BEFORE AFTER
//
// Record makes a namespace, what test/compare/testdata holds, and watches it
// for a while; OUT gets all that is there then, a line a field, without what
// differs by nature: uids, times, addresses, random names. Diff prints the
// lines that only one of two such files has.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "diff" {
		return diff(args[1], args[2], os.Stdout)
	}
	if len(args) == 0 || args[0] != "record" {
		return fmt.Errorf("usage: compare record -kubeconfig FILE [-for 90s] OUT, or compare diff BEFORE AFTER")
	}
	set := flag.NewFlagSet("record", flag.ContinueOnError)
	kubeconfig := set.String("kubeconfig", os.Getenv("KUBECONFIG"), "the cluster's kubeconfig")
	long := set.Duration("for", 90*time.Second, "how long what was made is watched")
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	if set.NArg() != 1 {
		return fmt.Errorf("record: one file to write is wanted")
	}
	return record(ctx, *kubeconfig, *long, set.Arg(0))
}
