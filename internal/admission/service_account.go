package admission

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

const (
	tokenMountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
	tokenVolume    = "kube-api-access-"
	// tokenLife in seconds is an hour and a bit, by which a token of this kind
	// is known from one that a user asked for.
	tokenLife = 3607
	// defaultAccount is who a pod runs as unless it says otherwise.
	defaultAccount = "default"
	// accountWithin bounds the wait for the default ServiceAccount of a
	// namespace that was just created.
	accountWithin = 2 * time.Second
)

// ServiceAccount gives each pod a ServiceAccount, and unless they opt out, a
// token of it and its image pull secrets.
type ServiceAccount struct{ Config }

// Name implements Plugin.
func (*ServiceAccount) Name() string { return "ServiceAccount" }

// Admit implements Mutator.
func (p *ServiceAccount) Admit(ctx context.Context, a *Attributes) error {
	pod := podOf(a, Create)
	if pod == nil {
		return nil
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return admitMirror(a, pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	account := p.account(ctx, a.Namespace, pod.Spec.ServiceAccountName)
	if account == nil {
		name := pod.Spec.ServiceAccountName
		if err := badName(name); err != nil {
			return forbidden(a, "error looking up service account %s/%s: %v", a.Namespace, name, err)
		}
		return forbidden(a, "error looking up service account %s/%s: serviceaccount %q not found", a.Namespace, name, name)
	}
	if mountsToken(pod, account) {
		p.mountToken(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = append([]corev1.LocalObjectReference(nil), account.ImagePullSecrets...)
	}
	return nil
}

func (p *ServiceAccount) account(ctx context.Context, namespace, name string) *corev1.ServiceAccount {
	account, ok := p.Objects.Object(serviceAccounts, namespace, name).(*corev1.ServiceAccount)
	if !ok && name == defaultAccount {
		ctx, cancel := context.WithTimeout(ctx, accountWithin)
		defer cancel()
		account, _ = p.Objects.Await(ctx, serviceAccounts, namespace, name).(*corev1.ServiceAccount)
	}
	return account
}

// mountsToken: the pod's word counts before the ServiceAccount's.
func mountsToken(pod *corev1.Pod, account *corev1.ServiceAccount) bool {
	if pod.Spec.AutomountServiceAccountToken != nil {
		return *pod.Spec.AutomountServiceAccountToken
	}
	return ptr.Deref(account.AutomountServiceAccountToken, true)
}

// mountToken mounts the token into each container that has nothing else there.
func (p *ServiceAccount) mountToken(pod *corev1.Pod) {
	volume := ""
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, tokenVolume) {
			volume = v.Name // a pod that was copied from another one
			break
		}
	}
	made := volume == ""
	if made {
		volume = tokenVolume + p.Suffix(5)
	}
	mounted := false
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			if mountsAt(c, tokenMountPath) {
				continue
			}
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: tokenMountPath, ReadOnly: true})
			mounted = true
		}
	}
	if made && mounted {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name:         volume,
			VolumeSource: corev1.VolumeSource{Projected: tokenProjection()},
		})
	}
}

func mountsAt(c *corev1.Container, path string) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			return true
		}
	}
	return false
}

func tokenProjection() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{
		DefaultMode: ptr.To(corev1.ProjectedVolumeSourceDefaultMode),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](tokenLife)}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path:     "namespace",
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}
}

// admitMirror keeps a node from getting at secrets through the pods that it
// mirrors into the API.
func admitMirror(a *Attributes, pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return forbidden(a, "a mirror pod may not reference service accounts")
	}
	r := referencesOf(&pod.Spec)
	switch {
	case r.tokens:
		return forbidden(a, "a mirror pod may not use ServiceAccountToken volume projections")
	case r.secrets:
		return forbidden(a, "a mirror pod may not reference secrets")
	}
	return nil
}
