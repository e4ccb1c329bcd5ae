package validate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// pod is what a container's rules need to know of the pod around it.
type pod struct {
	*corev1.PodSpec
	volumes []corev1.Volume // those whose names are right
	grace   int64
}

func (p *pod) volume(name string) *corev1.Volume {
	for i := range p.volumes {
		if p.volumes[i].Name == name {
			return &p.volumes[i]
		}
	}
	return nil
}

func podContainers(e *problems, s *corev1.PodSpec, v []corev1.Volume, at *field.Path) {
	p := &pod{PodSpec: s, volumes: v}
	if g := s.TerminationGracePeriodSeconds; g != nil {
		p.grace = *g
		if p.grace < 0 {
			p.grace = 1 // as a negative one is taken
		}
	}
	mainContainers(e, p, at.Child("containers"))
	if len(s.InitContainers) > 0 {
		initContainers(e, p, at.Child("initContainers"))
	}
	if len(s.EphemeralContainers) > 0 {
		ephemeralContainers(e, p, at.Child("ephemeralContainers"))
	}
}

func mainContainers(e *problems, p *pod, at *field.Path) {
	if len(p.Containers) == 0 {
		e.required(at, "")
		return
	}
	for i := range p.Containers {
		c, at := &p.Containers[i], at.Index(i)
		container(e, p, c, at)
		if slices.ContainsFunc(p.Containers[:i], func(o corev1.Container) bool { return o.Name == c.Name }) {
			e.add(field.Duplicate(at.Child("name"), c.Name))
		}
		lifecycle(e, p, c.Lifecycle, at.Child("lifecycle"))
		containerProbes(e, p, c, at)
		containerRestart(e, c, at)
	}
	hostPorts(e, p.Containers, at)
}

// isSidecar tells whether an init container runs as long as the pod does
// (KEP-753).
func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func initContainers(e *problems, p *pod, at *field.Path) {
	for i := range p.InitContainers {
		c, at := &p.InitContainers[i], at.Index(i)
		container(e, p, c, at)
		sameName := func(o corev1.Container) bool { return o.Name == c.Name }
		if c.Name != "" && (slices.ContainsFunc(p.Containers, sameName) || slices.ContainsFunc(p.InitContainers[:i], sameName)) {
			e.add(field.Duplicate(at.Child("name"), c.Name))
		}
		// Those that end before the next begins need not be looked at together.
		hostPorts(e, p.InitContainers[i:i+1], at)
		if c.RestartPolicy != nil || len(c.RestartPolicyRules) == 0 {
			containerRestart(e, c, at)
		} else {
			e.required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
		}
		if isSidecar(c) {
			lifecycle(e, p, c.Lifecycle, at.Child("lifecycle"))
			containerProbes(e, p, c, at)
			continue
		}
		const text = "may not be set for init containers without restartPolicy=Always"
		if c.Lifecycle != nil {
			e.forbidden(at.Child("lifecycle"), text)
		}
		if c.LivenessProbe != nil {
			e.forbidden(at.Child("livenessProbe"), text)
		}
		if c.ReadinessProbe != nil {
			e.forbidden(at.Child("readinessProbe"), text)
		}
		if c.StartupProbe != nil {
			e.forbidden(at.Child("startupProbe"), text)
		}
	}
}

func ephemeralContainers(e *problems, p *pod, at *field.Path) {
	for i := range p.EphemeralContainers {
		ec, at := &p.EphemeralContainers[i], at.Index(i)
		c := corev1.Container(ec.EphemeralContainerCommon)
		container(e, p, &c, at)
		sameName := func(o corev1.Container) bool { return o.Name == c.Name }
		if slices.ContainsFunc(p.Containers, sameName) || slices.ContainsFunc(p.InitContainers, sameName) ||
			slices.ContainsFunc(p.EphemeralContainers[:i], func(o corev1.EphemeralContainer) bool { return o.Name == c.Name }) {
			e.add(field.Duplicate(at.Child("name"), c.Name))
		}
		if t := ec.TargetContainerName; t != "" {
			isTarget := func(o corev1.Container) bool { return o.Name == t }
			if !slices.ContainsFunc(p.Containers, isTarget) && !slices.ContainsFunc(p.InitContainers, isTarget) {
				e.add(field.NotFound(at.Child("targetContainerName"), t))
			}
		}
		const text = "cannot be set for an Ephemeral Container"
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"ports", c.Ports != nil},
			{"resources", c.Resources.Limits != nil || c.Resources.Requests != nil || c.Resources.Claims != nil},
			{"resizePolicy", c.ResizePolicy != nil},
			{"restartPolicy", c.RestartPolicy != nil},
			{"restartPolicyRules", c.RestartPolicyRules != nil},
			{"livenessProbe", c.LivenessProbe != nil},
			{"readinessProbe", c.ReadinessProbe != nil},
			{"startupProbe", c.StartupProbe != nil},
			{"lifecycle", c.Lifecycle != nil},
		} {
			if f.set {
				e.forbidden(at.Child(f.name), text)
			}
		}
		for j := range c.VolumeMounts {
			if c.VolumeMounts[j].SubPath != "" {
				e.forbidden(at.Child("volumeMounts").Index(j).Child("subPath"), text)
			}
			if c.VolumeMounts[j].SubPathExpr != "" {
				e.forbidden(at.Child("volumeMounts").Index(j).Child("subPathExpr"), text)
			}
		}
	}
}

// container is what all sorts of containers have in common.
func container(e *problems, p *pod, c *corev1.Container, at *field.Path) {
	e.checked(at, "name", c.Name, dnsLabel)
	if c.Image == "" {
		e.required(at.Child("image"), "")
	}
	givenOneOf(e, at, "terminationMessagePolicy", c.TerminationMessagePolicy,
		corev1.TerminationMessageFallbackToLogsOnError, corev1.TerminationMessageReadFile)
	if len(c.Ports) > 0 {
		containerPorts(e, c.Ports, at.Child("ports"))
	}
	if len(c.Env) > 0 {
		envVars(e, p, c.Env, at.Child("env"))
	}
	if len(c.EnvFrom) > 0 {
		envFrom(e, c.EnvFrom, at.Child("envFrom"))
	}
	if len(c.VolumeMounts) > 0 {
		volumeMounts(e, p, c, at.Child("volumeMounts"))
	}
	if len(c.VolumeDevices) > 0 {
		volumeDevices(e, p, c, at.Child("volumeDevices"))
	}
	givenOneOf(e, at, "imagePullPolicy", c.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
	requirements(e, p, &c.Resources, at.Child("resources"))
	if len(c.ResizePolicy) > 0 {
		resizePolicy(e, p, c.ResizePolicy, at.Child("resizePolicy"))
	}
	if c.SecurityContext != nil {
		containerSecurity(e, c.SecurityContext, p.HostUsers, at.Child("securityContext"))
	}
}

// containerRestart judges a container's own restart policy (KEP-5307).
func containerRestart(e *problems, c *corev1.Container, at *field.Path) {
	if c.RestartPolicy != nil {
		oneOf(e, at, "restartPolicy", *c.RestartPolicy,
			corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
	} else if len(c.RestartPolicyRules) > 0 {
		e.required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
	}
	if n := len(c.RestartPolicyRules); n > 20 {
		e.add(field.TooMany(at.Child("restartPolicyRules"), n, 20))
		return
	}
	for i, r := range c.RestartPolicyRules {
		at := at.Child("restartPolicyRules").Index(i)
		oneOf(e, at, "action", r.Action, corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)
		if r.ExitCodes == nil {
			e.required(at.Child("exitCodes"), "must be specified")
			continue
		}
		at = at.Child("exitCodes")
		oneOf(e, at, "operator", r.ExitCodes.Operator,
			corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)
		if n := len(r.ExitCodes.Values); n > 255 {
			e.add(field.TooMany(at.Child("values"), n, 255))
		}
	}
}

func containerPorts(e *problems, ports []corev1.ContainerPort, at *field.Path) {
	for i := range ports {
		p, at := &ports[i], at.Index(i)
		if p.Name != "" {
			if texts := validation.IsValidPortName(p.Name); len(texts) > 0 {
				e.texts(at.Child("name"), p.Name, texts)
			} else if slices.ContainsFunc(ports[:i], func(o corev1.ContainerPort) bool { return o.Name == p.Name }) {
				e.add(field.Duplicate(at.Child("name"), p.Name))
			}
		}
		if p.ContainerPort == 0 {
			e.required(at.Child("containerPort"), "")
		} else {
			portNumber(e, at, "containerPort", p.ContainerPort)
		}
		if p.HostPort != 0 {
			portNumber(e, at, "hostPort", p.HostPort)
		}
		givenOneOf(e, at, "protocol", p.Protocol, protocols...)
	}
}

var protocols = []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP} // never changed

func portNumber(e *problems, parent *field.Path, name string, port int32) {
	if texts := validation.IsValidPortNum(int(port)); len(texts) > 0 {
		e.texts(parent.Child(name), port, texts)
	}
}

// port judges a port's number or name.
func port(e *problems, p intstr.IntOrString, at *field.Path) {
	if p.Type == intstr.Int {
		e.texts(at, p.IntValue(), validation.IsValidPortNum(p.IntValue()))
		return
	}
	e.texts(at, p.StrVal, validation.IsValidPortName(p.StrVal))
}

// hostPorts finds containers that want the same port of the node.
func hostPorts(e *problems, containers []corev1.Container, at *field.Path) {
	type key struct {
		protocol corev1.Protocol
		ip       string
		port     int32
	}
	var seen []key
	for i := range containers {
		for j := range containers[i].Ports {
			p := &containers[i].Ports[j]
			if p.HostPort == 0 {
				continue
			}
			k := key{p.Protocol, p.HostIP, p.HostPort}
			if slices.Contains(seen, k) {
				e.add(field.Duplicate(at.Index(i).Child("ports").Index(j).Child("hostPort"),
					fmt.Sprintf("%s/%s/%d", k.protocol, k.ip, k.port)))
				continue
			}
			seen = append(seen, k)
		}
	}
}

// hostNetwork checks that ports are the node's own where the network is.
func hostNetwork(e *problems, s *corev1.PodSpec, at *field.Path) {
	if !s.HostNetwork {
		return
	}
	check := func(containers []corev1.Container, list string) {
		for i := range containers {
			for j := range containers[i].Ports {
				if p := &containers[i].Ports[j]; p.HostPort != p.ContainerPort {
					e.invalid(at.Child(list).Index(i).Child("ports").Index(j).Child("hostPort"), p.HostPort,
						"must match `containerPort` when `hostNetwork` is true")
				}
			}
		}
	}
	check(s.Containers, "containers")
	check(s.InitContainers, "initContainers")
}

func volumeMounts(e *problems, p *pod, c *corev1.Container, at *field.Path) {
	all := at // where upstream says some of it
	for i := range c.VolumeMounts {
		m, at := &c.VolumeMounts[i], at.Index(i)
		e.given(at, "name", m.Name)
		if p.volume(m.Name) == nil {
			e.add(field.NotFound(at.Child("name"), m.Name))
		}
		e.given(at, "mountPath", m.MountPath)
		if slices.ContainsFunc(c.VolumeMounts[:i], func(o corev1.VolumeMount) bool { return o.MountPath == m.MountPath }) {
			e.invalid(at.Child("mountPath"), m.MountPath, "must be unique")
		}
		for j := range c.VolumeDevices {
			if c.VolumeDevices[j].Name == m.Name {
				e.invalid(at.Child("name"), m.Name, "must not already exist in volumeDevices")
			}
			if c.VolumeDevices[j].DevicePath == m.MountPath {
				e.invalid(at.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices")
			}
		}
		if m.SubPath != "" {
			descending(e, m.SubPath, all, "subPath")
		}
		if m.SubPathExpr != "" {
			if m.SubPath != "" {
				e.invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
			}
			descending(e, m.SubPathExpr, all, "subPathExpr")
		}
		if m.MountPropagation != nil {
			propagation(e, *m.MountPropagation, c, all)
		}
		if m.RecursiveReadOnly != nil {
			recursiveReadOnly(e, m, all)
		}
	}
}

func propagation(e *problems, mode corev1.MountPropagationMode, c *corev1.Container, at *field.Path) {
	oneOf(e, at, "mountPropagation", mode,
		corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	privileged := c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged
	if mode == corev1.MountPropagationBidirectional && !privileged {
		e.forbidden(at.Child("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers")
	}
}

func recursiveReadOnly(e *problems, m *corev1.VolumeMount, at *field.Path) {
	switch *m.RecursiveReadOnly {
	case corev1.RecursiveReadOnlyDisabled:
	case corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible:
		if !m.ReadOnly {
			e.forbidden(at.Child("recursiveReadOnly"), "may only be specified when readOnly is true")
		}
		if p := m.MountPropagation; p != nil && *p != corev1.MountPropagationNone {
			e.forbidden(at.Child("recursiveReadOnly"), "may only be specified when mountPropagation is None or not specified")
		}
	default:
		oneOf(e, at, "recursiveReadOnly", *m.RecursiveReadOnly,
			corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	}
}

func volumeDevices(e *problems, p *pod, c *corev1.Container, at *field.Path) {
	for i, d := range c.VolumeDevices {
		at := at.Index(i)
		e.given(at, "name", d.Name)
		if v := p.volume(d.Name); v == nil {
			e.add(field.NotFound(at.Child("name"), d.Name))
		} else if v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			e.invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
		}
		if e.given(at, "devicePath", d.DevicePath) && slices.Contains(strings.Split(d.DevicePath, "/"), "..") {
			e.invalid(at.Child("devicePath"), d.DevicePath, "can not contain backsteps ('..')")
		}
		for j := range c.VolumeDevices[:i] {
			if c.VolumeDevices[j].DevicePath == d.DevicePath {
				e.invalid(at.Child("devicePath"), d.DevicePath, "must be unique")
			}
			if d.Name != "" && c.VolumeDevices[j].Name == d.Name {
				e.invalid(at.Child("name"), d.Name, "must be unique")
			}
		}
		for j := range c.VolumeMounts {
			if c.VolumeMounts[j].Name == d.Name {
				e.invalid(at.Child("name"), d.Name, "must not already exist in volumeMounts")
			}
			if c.VolumeMounts[j].MountPath == d.DevicePath {
				e.invalid(at.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts")
			}
		}
	}
}
