package kubelet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"clipper/internal/kubelet/lifecycle"
)

// imageError is why a container has no image; reason is the API's.
type imageError struct {
	reason string
	err    error
}

func (e *imageError) Error() string { return e.err.Error() }

// images makes sure that images are there, several at a time, and pulls one
// that many pods want only once.
type images struct {
	k  *Kubelet
	mu sync.Mutex
	// pulls under way by image and credentials.
	pulls map[string]*pull
}

type pull struct {
	done   chan struct{}
	cancel context.CancelFunc
	users  int
	ref    string
	err    error
}

// policy returns the container's pull policy; the API has filled it in, save
// for objects made by hand.
func policy(c *v1.Container) v1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	return v1.PullIfNotPresent
}

// ensure returns the runtime's reference of the container's image.
func (im *images) ensure(ctx context.Context, pod *v1.Pod, c *lifecycle.Container) (string, error) {
	k, image := im.k, c.Spec.Image
	if image == "" || strings.ContainsAny(image, " \t\n") {
		err := fmt.Errorf("Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format", image, image)
		k.events.pod(pod, c, v1.EventTypeWarning, "InspectFailed", err.Error())
		return "", &imageError{"InvalidImageName", err}
	}
	spec := &runtimeapi.ImageSpec{Image: image, UserSpecifiedImage: image}
	if policy(c.Spec) != v1.PullAlways {
		st, err := k.Images.ImageStatus(ctx, spec, false)
		if err != nil {
			err = fmt.Errorf("Failed to inspect image %q: %w", image, err)
			k.events.pod(pod, c, v1.EventTypeWarning, "InspectFailed", err.Error())
			return "", &imageError{"ImageInspectError", err}
		}
		if st != nil && st.Image != nil {
			k.events.pod(pod, c, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", image))
			return st.Image.Id, nil
		}
		if policy(c.Spec) == v1.PullNever {
			err := fmt.Errorf("Container image %q is not present with pull policy of Never", image)
			k.events.pod(pod, c, v1.EventTypeWarning, "ErrImageNeverPull", err.Error())
			return "", &imageError{"ErrImageNeverPull", err}
		}
	}

	k.events.pod(pod, c, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", image))
	began := k.Clock.Now()
	ref, err := im.pull(ctx, pod, spec)
	if err != nil {
		reason := "ErrImagePull"
		switch {
		case errors.Is(err, crierrors.ErrRegistryUnavailable), strings.Contains(err.Error(), crierrors.ErrRegistryUnavailable.Error()):
			reason = "RegistryUnavailable"
		case errors.Is(err, crierrors.ErrSignatureValidationFailed), strings.Contains(err.Error(), crierrors.ErrSignatureValidationFailed.Error()):
			reason = "SignatureValidationFailed"
		}
		k.events.pod(pod, c, v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", image, err))
		k.events.pod(pod, c, v1.EventTypeWarning, "Failed", "Error: "+reason)
		return "", &imageError{reason, err}
	}
	took := k.Clock.Now().Sub(began).Truncate(time.Millisecond)
	text := fmt.Sprintf("Successfully pulled image %q in %s (%s including waiting).", image, took, took)
	if st, err := k.Images.ImageStatus(ctx, spec, false); err == nil && st != nil && st.Image != nil {
		ref = st.Image.Id
		text += fmt.Sprintf(" Image size: %d bytes.", st.Image.Size)
	}
	k.events.pod(pod, c, v1.EventTypeNormal, "Pulled", text)
	k.imagesChanged()
	return ref, nil
}

// pull gets an image with the pod's credentials, joining a pull of the same
// image that is under way. The pull ends early once nobody waits for it.
func (im *images) pull(ctx context.Context, pod *v1.Pod, spec *runtimeapi.ImageSpec) (string, error) {
	auths, err := im.k.credentials(ctx, pod, spec.Image)
	if err != nil {
		return "", err
	}
	key := spec.Image
	for _, a := range auths {
		key += "\x00" + a.ServerAddress + "\x00" + a.Username + "\x00" + a.Password + a.Auth + a.IdentityToken
	}
	im.mu.Lock()
	p := im.pulls[key]
	if p == nil {
		pctx, cancel := context.WithCancel(im.k.ctx)
		p = &pull{done: make(chan struct{}), cancel: cancel}
		im.pulls[key] = p
		go func() {
			defer cancel()
			p.ref, p.err = im.fetch(pctx, spec, auths)
			im.mu.Lock()
			if im.pulls[key] == p {
				delete(im.pulls, key)
			}
			im.mu.Unlock()
			close(p.done)
		}()
	}
	p.users++
	im.mu.Unlock()

	select {
	case <-p.done:
		return p.ref, p.err
	case <-ctx.Done():
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	if p.users--; p.users == 0 {
		p.cancel()
		if im.pulls[key] == p {
			delete(im.pulls, key)
		}
	}
	return "", ctx.Err()
}

// fetch tries the credentials in turn, and none if there are none.
func (im *images) fetch(ctx context.Context, spec *runtimeapi.ImageSpec, auths []*runtimeapi.AuthConfig) (string, error) {
	if len(auths) == 0 {
		return im.k.Images.PullImage(ctx, spec, nil, nil)
	}
	var errs []error
	for _, a := range auths {
		ref, err := im.k.Images.PullImage(ctx, spec, a, nil)
		if err == nil {
			return ref, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}
