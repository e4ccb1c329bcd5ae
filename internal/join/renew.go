package join

import (
	"context"
	"errors"
	"time"

	"clipper/internal/auth"
)

// Run replaces each certificate when a quarter of its life is left, and blocks
// until ctx ends. Between these moments it does nothing.
func (j *Credentials) Run(ctx context.Context) error {
	const again, longest = time.Minute, time.Hour
	delay := again
	for {
		pair, k := j.client, clientCertificate
		if s := j.server.Renewal(); !s.IsZero() && s.Before(pair.Renewal()) {
			pair, k = j.server, servingCertificate
		}
		if !j.wait(ctx, pair.Renewal().Sub(j.Clock.Now())) {
			return nil
		}
		err := j.renew(ctx, pair, k)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			delay = again
			continue
		}
		j.Logger.Error("certificate not renewed, will try again", "signer", k.signer, "ends", pair.Renewal(), "in", delay, "err", err)
		if !j.wait(ctx, delay) {
			return nil
		}
		delay = min(2*delay, longest)
	}
}

func (j *Credentials) renew(ctx context.Context, pair *auth.KeyPair, k kind) error {
	if err := j.request(ctx, j.api, pair, k); err != nil {
		return err
	}
	if !k.serving {
		j.connections.Close()
	}
	if !pair.Renewal().After(j.Clock.Now()) {
		return errors.New("the new certificate has as little time left as the one before: check both machines' clocks")
	}
	j.Logger.Info("certificate renewed", "signer", k.signer, "until", pair.Certificate().Leaf.NotAfter)
	return nil
}

// wait returns false if ctx ended first.
func (j *Credentials) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := j.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	}
}
