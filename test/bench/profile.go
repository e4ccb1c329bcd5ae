package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
)

// window is how long one CPU profile lasts. A measurement has as many as it
// takes; `go tool pprof` adds up those that it is given together.
const window = 2 * time.Second

// profile takes CPU profiles of the API server's process into dir until the
// function that it returns is called, which adds one of the heap and one of
// all that was allocated since the start.
func profile(ctx context.Context, c *cluster, dir, name string) (stop func() error, err error) {
	cfg, err := c.rest(runtime.ContentTypeJSON)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	get := func(file, path string, params ...string) error {
		r := client.CoreV1().RESTClient().Get().AbsPath("/debug/pprof/", path)
		for i := 0; i < len(params); i += 2 {
			r.Param(params[i], params[i+1])
		}
		data, err := r.DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("profile %s: %w", path, err)
		}
		return os.WriteFile(filepath.Join(dir, name+"-"+file+".pprof"), data, 0o644)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 1; err == nil; i++ {
			err = get(fmt.Sprintf("cpu-%02d", i), "profile", "seconds", fmt.Sprint(int(window.Seconds())))
			select {
			case <-end:
				done <- err
				return
			default:
			}
		}
		done <- err
	}()
	return func() error {
		close(end)
		if err := <-done; err != nil {
			return err
		}
		if err := get("allocs", "allocs"); err != nil {
			return err
		}
		return get("heap", "heap", "gc", "1")
	}, nil
}
