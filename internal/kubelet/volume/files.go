package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clipper/internal/kubelet/downward"
)

// file is one file of a volume.
type file struct {
	data []byte
	mode uint32
	// user owns the file, if not root.
	user *int64
}

const defaultMode = 0o644

// files returns what a volume of API objects shows, by path, and when it is
// to be renewed.
func (m *Manager) files(ctx context.Context, pod *v1.Pod, v *v1.Volume) (map[string]file, time.Time, error) {
	out := map[string]file{}
	var renew time.Time
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		return out, renew, m.configMap(out, pod, s.Name, s.Items, mode(s.DefaultMode), s.Optional)
	case v.Secret != nil:
		s := v.Secret
		return out, renew, m.secret(out, pod, s.SecretName, s.Items, mode(s.DefaultMode), s.Optional)
	case v.DownwardAPI != nil:
		return out, renew, m.downward(out, pod, v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode))
	}
	def := mode(v.Projected.DefaultMode)
	for i := range v.Projected.Sources {
		s := &v.Projected.Sources[i]
		var err error
		switch {
		case s.ConfigMap != nil:
			err = m.configMap(out, pod, s.ConfigMap.Name, s.ConfigMap.Items, def, s.ConfigMap.Optional)
		case s.Secret != nil:
			err = m.secret(out, pod, s.Secret.Name, s.Secret.Items, def, s.Secret.Optional)
		case s.DownwardAPI != nil:
			err = m.downward(out, pod, s.DownwardAPI.Items, def)
		case s.ServiceAccountToken != nil:
			var at time.Time
			if at, err = m.token(ctx, out, pod, s.ServiceAccountToken, def); renew.IsZero() || !at.IsZero() && at.Before(renew) {
				renew = at
			}
		default:
			err = errors.New("projected volume source is not served by this node")
		}
		if err != nil {
			return nil, renew, err
		}
	}
	return out, renew, nil
}

func mode(p *int32) uint32 {
	if p == nil {
		return defaultMode
	}
	return uint32(*p)
}

func optional(p *bool) bool { return p != nil && *p }

func (m *Manager) configMap(out map[string]file, pod *v1.Pod, name string, items []v1.KeyToPath, def uint32, opt *bool) error {
	o, err := m.Objects.ConfigMap(pod.Namespace, name)
	if err != nil {
		if apierrors.IsNotFound(err) && optional(opt) {
			return nil
		}
		return err
	}
	get := func(k string) ([]byte, bool) {
		if v, ok := o.Data[k]; ok {
			return []byte(v), true
		}
		v, ok := o.BinaryData[k]
		return v, ok
	}
	if len(items) == 0 {
		for k, v := range o.Data {
			out[k] = file{data: []byte(v), mode: def}
		}
		for k, v := range o.BinaryData {
			out[k] = file{data: v, mode: def}
		}
		return nil
	}
	return pick(out, items, def, optional(opt), get, "references non-existent config key: ")
}

func (m *Manager) secret(out map[string]file, pod *v1.Pod, name string, items []v1.KeyToPath, def uint32, opt *bool) error {
	o, err := m.Objects.Secret(pod.Namespace, name)
	if err != nil {
		if apierrors.IsNotFound(err) && optional(opt) {
			return nil
		}
		return err
	}
	if len(items) == 0 {
		for k, v := range o.Data {
			out[k] = file{data: v, mode: def}
		}
		return nil
	}
	get := func(k string) ([]byte, bool) { v, ok := o.Data[k]; return v, ok }
	return pick(out, items, def, optional(opt), get, "references non-existent secret key: ")
}

func pick(out map[string]file, items []v1.KeyToPath, def uint32, optional bool, get func(string) ([]byte, bool), missing string) error {
	for _, it := range items {
		v, ok := get(it.Key)
		if !ok {
			if optional {
				continue
			}
			return errors.New(missing + it.Key)
		}
		f := file{data: v, mode: def}
		if it.Mode != nil {
			f.mode = uint32(*it.Mode)
		}
		out[it.Path] = f
	}
	return nil
}

func (m *Manager) downward(out map[string]file, pod *v1.Pod, items []v1.DownwardAPIVolumeFile, def uint32) error {
	for _, it := range items {
		var value string
		var err error
		switch {
		case it.FieldRef != nil:
			value, err = downward.Field(pod, it.FieldRef.FieldPath)
		case it.ResourceFieldRef != nil:
			value, err = downward.Resource(pod, it.ResourceFieldRef, "", m.Allocatable)
		}
		if err != nil {
			return err
		}
		f := file{data: []byte(value), mode: def}
		if it.Mode != nil {
			f.mode = uint32(*it.Mode)
		}
		out[it.Path] = f
	}
	return nil
}

func (m *Manager) token(ctx context.Context, out map[string]file, pod *v1.Pod, s *v1.ServiceAccountTokenProjection, def uint32) (time.Time, error) {
	token, renew, err := m.Token(ctx, pod, s)
	if err != nil {
		return renew, fmt.Errorf("failed to fetch token: %w", err)
	}
	f := file{data: []byte(token), mode: def}
	// Only the pod's own user or group should read its token.
	if user := onlyUser(pod); user != nil || fsGroup(pod) != nil {
		f.mode = 0o600
		if fsGroup(pod) == nil {
			f.user = user
		}
	}
	out[s.Path] = f
	return renew, nil
}

// onlyUser is the user that all of the pod's containers run as, or nil.
func onlyUser(pod *v1.Pod) *int64 {
	var user *int64
	first := true
	for _, list := range [...][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			var u *int64
			if sc := pod.Spec.SecurityContext; sc != nil {
				u = sc.RunAsUser
			}
			if sc := list[i].SecurityContext; sc != nil && sc.RunAsUser != nil {
				u = sc.RunAsUser
			}
			if u == nil || !first && *u != *user {
				return nil
			}
			user, first = u, false
		}
	}
	return user
}
