// Package controller holds what the controllers below it share: the loop that
// runs them, the claim of owned objects, and the rules on pods they agree on.
//
// A controller is level-triggered: an event only names a key, and the key's
// sync compares what is with what should be. Syncs are idempotent, and one key
// is never synced twice at once. Nothing polls: while nothing changes and no
// deadline is near, a controller has one goroutine, and it sleeps.
//
// Objects from informers are shared by the whole process and never changed.
package controller

import (
	"context"
	"log/slog"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Config is what every controller is built from. All fields but Events are
// required.
type Config struct {
	Client kubernetes.Interface
	// Informers gives the caches. Controllers register in their New; whoever
	// builds them starts the factory afterwards.
	Informers informers.SharedInformerFactory
	Clock     clock.WithTicker
	Logger    *slog.Logger
	// Events records what users should see; nil drops it. See NewEvents.
	Events Events
}

// Controller is what every package below returns from New.
type Controller interface {
	// Name is the controller's upstream name, such as "replicaset-controller".
	Name() string
	// Run waits for the caches, works until ctx ends and returns nil after the
	// last sync has returned.
	Run(ctx context.Context) error
}
