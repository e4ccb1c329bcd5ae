package system

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"clipper/internal/config"
	"clipper/internal/memory"
	"clipper/internal/run"
)

// stopWithin bounds how long a process may take to stop in order.
const stopWithin = 8 * time.Second

// process is one server, agent or both while it is put together.
type process struct {
	*config.Config
	// version is of Kubernetes, as "v1.36.3".
	version string
	// ctx ends when the process is to stop; what is built hangs background
	// work on it that belongs to no part.
	ctx   context.Context
	clock clock.WithTickerAndDelayedExecution
	log   *slog.Logger
	group run.Group
	tell  *Teller
	// trims let go of what is quickly made again.
	trims []func()
}

// Run builds what the configuration describes and runs it until ctx ends. It
// returns nil after an orderly stop.
func Run(ctx context.Context, c *config.Config, version string, tell *Teller) error {
	err := start(ctx, c, version, tell)
	if err != nil {
		tell.Fail(err)
	}
	return err
}

func start(ctx context.Context, c *config.Config, version string, tell *Teller) error {
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	p := &process{
		Config: c, version: version, ctx: ctx, clock: clock.RealClock{}, tell: tell,
		log:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		group: run.Group{StopWithin: stopWithin},
	}
	keeper := memory.New(memory.Config{Clock: p.clock, Trim: func() {
		for _, trim := range p.trims {
			trim()
		}
	}})
	p.group.Add(run.Part{Name: "memory", Run: keeper.Run})
	// What client-go has to say is about its own inside, unless it is a warning.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	for _, dir := range []string{c.StateDir, c.RunDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	if c.Server == nil && (c.Agent == nil || c.Agent.Server == "") {
		return fmt.Errorf("node %s: neither a server nor the address of one is configured", c.Node)
	}
	api, err := p.api()
	if err != nil {
		return err
	}
	if c.Agent != nil {
		if err := p.agent(api); err != nil {
			return err
		}
	}
	p.group.OnReady = func() {
		p.log.Info("ready", "node", c.Node)
		if c.Server != nil && tell == nil {
			p.log.Info("machines join with a token", "command", "clipper token create --kubeconfig "+filepath.Join(c.StateDir, "admin.kubeconfig"))
		}
		tell.Ready()
	}
	return p.group.Run(ctx)
}
