// Command bench measures a cluster: its start, what it costs while idle, how
// fast pods start, and how many requests its API answers. Given a folder of
// upstream's binaries it measures upstream beside it, in alternation, so that
// both see the machine in the same state.
//
// usage: bench [-peer DIR] [-kubeconfig FILE] [-name CLUSTER] [-rounds N] [-only REGEXP] [-profiles DIR] [-o json]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"sort"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// target is a kind of cluster that can be measured.
type target interface {
	name() string
	// start starts a new cluster and returns it once its node is Ready.
	start(ctx context.Context) (*cluster, error)
	// stop removes it.
	stop(c *cluster) error
}

// figure is one measured value. Lower is better, unless it is a rate.
type figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"`
	Target string  `json:"target"`
	Round  int     `json:"round"`
}

func main() {
	peer := flag.String("peer", os.Getenv("PEER"), "folder of upstream's binaries")
	program := flag.String("clipper", os.Getenv("CLIPPER"), "the clipper to measure")
	cluster := flag.String("name", "bench", "name of the cluster that is started")
	images := flag.String("images", "bin/test-images.tar", "archive of the images that pods run")
	kubeconfig := flag.String("kubeconfig", "", "measure the cluster that this file names, instead of starting one")
	rounds := flag.Int("rounds", 1, "how often to measure each")
	only := flag.String("only", "", "measure only what matches")
	profiles := flag.String("profiles", "", "folder for profiles of the API server during each measurement (they cost it some of its speed)")
	format := flag.String("o", "", "json prints every figure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *program == "" {
		*program = "bin/clipper"
	}
	targets := []target{&clipper{program: *program, images: *images, cluster: *cluster}}
	if *peer != "" {
		targets = append(targets, &upstream{bin: *peer, images: *images})
	}
	if *kubeconfig != "" {
		targets = []target{&existing{*kubeconfig}}
	}
	figures, err := run(ctx, targets, *rounds, regexp.MustCompile(*only), *profiles)
	if *format == "json" {
		_ = json.NewEncoder(os.Stdout).Encode(figures)
	} else {
		print(targets, figures)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, targets []target, rounds int, only *regexp.Regexp, profiles string) (all []figure, err error) {
	for round := range rounds {
		for _, t := range targets {
			fmt.Fprintf(os.Stderr, "round %d: %s\n", round+1, t.name())
			figures, err := measure(ctx, t, only, profiles)
			for _, f := range figures {
				f.Target, f.Round = t.name(), round+1
				all = append(all, f)
			}
			if err != nil {
				return all, fmt.Errorf("%s: %w", t.name(), err)
			}
		}
	}
	return all, nil
}

func measure(ctx context.Context, t target, only *regexp.Regexp, profiles string) (all []figure, err error) {
	begin := time.Now()
	c, err := t.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := t.stop(c); err == nil {
			err = e
		}
	}()
	all = append(all, figure{Name: "cold start to node Ready", Unit: "s", Value: time.Since(begin).Seconds()})
	untouched := true
	for _, m := range measurements {
		if !only.MatchString(m.name) {
			continue
		}
		if m.anew && !untouched {
			if err := t.stop(c); err != nil {
				return all, err
			}
			fresh, err := t.start(ctx)
			if err != nil {
				return all, err
			}
			c = fresh
		}
		untouched = false
		end := func() error { return nil }
		if profiles != "" {
			if end, err = profile(ctx, c, profiles, t.name()+"-"+m.name); err != nil {
				return all, err
			}
		}
		begin := time.Now()
		used, _ := cpu(c.pids())
		figures, err := m.run(ctx, c)
		if err = errors.Join(err, end()); err != nil {
			return all, fmt.Errorf("%s: %w", m.name, err)
		}
		now, _ := cpu(c.pids())
		fmt.Fprintf(os.Stderr, "  %-12s took %.1f s, of the cluster's processes %.2f s of CPU\n", m.name, time.Since(begin).Seconds(), now-used)
		for _, f := range figures {
			fmt.Fprintf(os.Stderr, "    %s: %s %s\n", f.Name, number(f.Value), f.Unit)
		}
		all = append(all, figures...)
	}
	return all, nil
}

// print shows the median of each figure, a column a target.
func print(targets []target, figures []figure) {
	type key struct{ name, unit, target string }
	values := map[key][]float64{}
	var names []key
	for _, f := range figures {
		k := key{f.Name, f.Unit, ""}
		if !slices.Contains(names, k) {
			names = append(names, k)
		}
		k.target = f.Target
		values[k] = append(values[k], f.Value)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', 0)
	header := []string{"", "unit"}
	for _, t := range targets {
		header = append(header, t.name())
	}
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, k := range names {
		row := []string{k.name, k.unit}
		for _, t := range targets {
			k.target = t.name()
			cell := "-"
			if v := values[k]; len(v) > 0 {
				sort.Float64s(v)
				cell = number(v[len(v)/2])
				if len(v) > 1 {
					cell += fmt.Sprintf(" (%s–%s)", number(v[0]), number(v[len(v)-1]))
				}
			}
			row = append(row, cell)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
