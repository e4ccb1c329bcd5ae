// Package image makes sure that containers' images are on the node.
package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
	"k8s.io/utils/clock"

	"clipper/internal/kubelet/event"
	"clipper/internal/kubelet/lifecycle"
)

// Error is why a container has no image; Reason is the API's.
type Error struct {
	Reason string
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Config of a Puller.
type Config struct {
	Client  kubernetes.Interface
	Service internalapi.ImageManagerService
	Events  *event.Recorder
	Clock   clock.Clock
	// Changed, if set, is called after the node got an image.
	Changed func()
}

// Puller pulls several images at a time, and one that many pods want only once.
type Puller struct {
	Config
	ctx context.Context
	mu  sync.Mutex
	// pulls under way by image and credentials.
	pulls map[string]*pull
}

// New returns a Puller whose pulls end with ctx.
func New(ctx context.Context, c Config) *Puller {
	return &Puller{Config: c, ctx: ctx, pulls: map[string]*pull{}}
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

// Ensure returns the runtime's reference of a container's image. Of c only what
// never changes is read, as its owner goes on meanwhile.
func (im *Puller) Ensure(ctx context.Context, pod *v1.Pod, c *lifecycle.Container, spec *v1.Container) (string, error) {
	image := spec.Image
	if image == "" || strings.ContainsAny(image, " \t\n") {
		err := fmt.Errorf("couldn't parse image name %q: invalid reference format", image)
		return "", im.refuse(pod, c, image, err)
	}
	ref := &runtimeapi.ImageSpec{Image: image, UserSpecifiedImage: image}
	if policy(spec) != v1.PullAlways {
		st, err := im.Service.ImageStatus(ctx, ref, false)
		if err != nil {
			if misnamed(err) {
				return "", im.refuse(pod, c, image, err)
			}
			err = fmt.Errorf("Failed to inspect image %q: %w", image, err)
			im.Events.Pod(pod, c, v1.EventTypeWarning, "InspectFailed", err.Error())
			im.Events.Pod(pod, c, v1.EventTypeWarning, "Failed", "Error: ImageInspectError")
			return "", &Error{"ImageInspectError", err}
		}
		if st != nil && st.Image != nil {
			im.Events.Pod(pod, c, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", image))
			return st.Image.Id, nil
		}
		if policy(spec) == v1.PullNever {
			err := fmt.Errorf("Container image %q is not present with pull policy of Never", image)
			im.Events.Pod(pod, c, v1.EventTypeWarning, "ErrImageNeverPull", err.Error())
			im.Events.Pod(pod, c, v1.EventTypeWarning, "Failed", "Error: ErrImageNeverPull")
			return "", &Error{"ErrImageNeverPull", err}
		}
	}

	im.Events.Pod(pod, c, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", image))
	began := im.Clock.Now()
	id, err := im.pull(ctx, pod, ref)
	if err != nil {
		reason := "ErrImagePull"
		switch {
		case misnamed(err):
			reason = "InvalidImageName"
		case errors.Is(err, crierrors.ErrRegistryUnavailable), strings.Contains(err.Error(), crierrors.ErrRegistryUnavailable.Error()):
			reason = "RegistryUnavailable"
		case errors.Is(err, crierrors.ErrSignatureValidationFailed), strings.Contains(err.Error(), crierrors.ErrSignatureValidationFailed.Error()):
			reason = "SignatureValidationFailed"
		}
		im.Events.Pod(pod, c, v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", image, err))
		im.Events.Pod(pod, c, v1.EventTypeWarning, "Failed", "Error: "+reason)
		return "", &Error{reason, err}
	}
	took := im.Clock.Now().Sub(began).Truncate(time.Millisecond)
	text := fmt.Sprintf("Successfully pulled image %q in %s (%s including waiting).", image, took, took)
	if st, err := im.Service.ImageStatus(ctx, ref, false); err == nil && st != nil && st.Image != nil {
		id = st.Image.Id
		text += fmt.Sprintf(" Image size: %d bytes.", st.Image.Size)
	}
	im.Events.Pod(pod, c, v1.EventTypeNormal, "Pulled", text)
	if im.Changed != nil {
		im.Changed()
	}
	return id, nil
}

// refuse tells of a name that no image can have.
func (im *Puller) refuse(pod *v1.Pod, c *lifecycle.Container, image string, err error) error {
	err = fmt.Errorf("Failed to apply default image tag %q: %w", image, err)
	im.Events.Pod(pod, c, v1.EventTypeWarning, "InspectFailed", err.Error())
	im.Events.Pod(pod, c, v1.EventTypeWarning, "Failed", "Error: InvalidImageName")
	return &Error{"InvalidImageName", err}
}

// Volume makes sure that the image of a volume is there.
func (im *Puller) Volume(ctx context.Context, pod *v1.Pod, v *v1.ImageVolumeSource) (string, error) {
	return im.Ensure(ctx, pod, nil, &v1.Container{Image: v.Reference, ImagePullPolicy: v.PullPolicy})
}

// pull gets an image with the pod's credentials, joining a pull of the same
// image that is under way. The pull ends early once nobody waits for it.
func (im *Puller) pull(ctx context.Context, pod *v1.Pod, spec *runtimeapi.ImageSpec) (string, error) {
	auths, err := im.credentials(ctx, pod, spec.Image)
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
		pctx, cancel := context.WithCancel(im.ctx)
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
func (im *Puller) fetch(ctx context.Context, spec *runtimeapi.ImageSpec, auths []*runtimeapi.AuthConfig) (string, error) {
	if len(auths) == 0 {
		return im.Service.PullImage(ctx, spec, nil, nil)
	}
	var errs []error
	for _, a := range auths {
		ref, err := im.Service.PullImage(ctx, spec, a, nil)
		if err == nil {
			return ref, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// misnamed tells whether no registry could have an image of the name, in the
// words that all runtimes have for it.
func misnamed(err error) bool { return strings.Contains(err.Error(), "invalid reference format") }
