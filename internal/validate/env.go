package validate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func envVars(e *problems, p *pod, vars []corev1.EnvVar, at *field.Path) {
	for i := range vars {
		v := &vars[i]
		if v.Name == "" || v.ValueFrom != nil || !plainEnvName(v.Name) {
			at := at.Index(i)
			e.checked(at, "name", v.Name, validation.IsRelaxedEnvVarName)
			if v.ValueFrom != nil {
				envSource(e, p, v, at.Child("valueFrom"))
			}
		}
	}
}

// plainEnvName tells quickly that a name is right; others are looked at closely.
func plainEnvName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func envSource(e *problems, p *pod, v *corev1.EnvVar, at *field.Path) {
	from, n := v.ValueFrom, 0
	if from.FieldRef != nil {
		n++
		fieldRef(e, from.FieldRef, envFields, at.Child("fieldRef"))
	}
	if from.ResourceFieldRef != nil {
		n++
		resourceFieldRef(e, from.ResourceFieldRef, false, at.Child("resourceFieldRef"))
	}
	if r := from.ConfigMapKeyRef; r != nil {
		n++
		keyRef(e, r.Name, r.Key, at.Child("configMapKeyRef"))
	}
	if r := from.SecretKeyRef; r != nil {
		n++
		keyRef(e, r.Name, r.Key, at.Child("secretKeyRef"))
	}
	if r := from.FileKeyRef; r != nil {
		n++
		fileKeyRef(e, p, r, at.Child("fileKeyRef"))
	}
	switch {
	case n == 0:
		e.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case v.Value != "":
		e.invalid(at, "", "may not be specified when `value` is not empty")
	case n > 1:
		e.invalid(at, "", "may not have more than one field specified at a time")
	}
}

func keyRef(e *problems, name, key string, at *field.Path) {
	e.check(at, "name", name, dnsSubdomain)
	e.checked(at, "key", key, validation.IsConfigMapKey)
}

// fileKeyRef judges a variable that is read from a file (KEP-3721).
func fileKeyRef(e *problems, p *pod, r *corev1.FileKeySelector, at *field.Path) {
	e.checked(at, "key", r.Key, validation.IsRelaxedEnvVarName)
	e.checked(at, "volumeName", r.VolumeName, dnsLabel)
	if v := p.volume(r.VolumeName); v == nil {
		e.add(field.NotFound(at.Child("volumeName"), r.VolumeName))
	} else if v.EmptyDir == nil {
		e.invalid(at.Child("volumeName"), r.VolumeName, "must be an emptyDir volume")
	}
	if e.given(at, "path", r.Path) && slices.Contains(strings.Split(r.Path, "/"), "..") {
		e.invalid(at.Child("path"), r.Path, "must not contain '..'")
	}
}

func envFrom(e *problems, sources []corev1.EnvFromSource, at *field.Path) {
	list := at
	for i, s := range sources {
		at, n := at.Index(i), 0
		if s.Prefix != "" {
			e.check(at, "prefix", s.Prefix, validation.IsRelaxedEnvVarName)
		}
		if s.ConfigMapRef != nil {
			n++
			e.checked(at.Child("configMapRef"), "name", s.ConfigMapRef.Name, dnsSubdomain)
		}
		if s.SecretRef != nil {
			n++
			e.checked(at.Child("secretRef"), "name", s.SecretRef.Name, dnsSubdomain)
		}
		switch {
		case n == 0:
			e.invalid(list, "", "must specify one of: `configMapRef` or `secretRef`")
		case n > 1:
			e.invalid(list, "", "may not have more than one field specified at a time")
		}
	}
}

// The fields of a pod that its containers may be told.
var (
	envFields = []string{ // never changed
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	volumeFields = []string{ // never changed
		"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
	}
	// podFields are those that a pod is known to have at all.
	podFields = []string{ // never changed
		"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
		"spec.nodeName", "spec.host", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.phase", "status.podIP", "status.podIPs",
	}
)

func fieldRef(e *problems, r *corev1.ObjectFieldSelector, supported []string, at *field.Path) {
	if !e.given(at, "apiVersion", r.APIVersion) || !e.given(at, "fieldPath", r.FieldPath) {
		return
	}
	path, key, subscript := subscripted(r.FieldPath)
	switch {
	case r.APIVersion != "v1":
		e.invalid(at.Child("fieldPath"), r.FieldPath, "error converting fieldPath: unsupported pod version: "+r.APIVersion)
	case subscript && path == "metadata.annotations":
		e.texts(at, key, validation.IsQualifiedName(strings.ToLower(key)))
	case subscript && path == "metadata.labels":
		e.texts(at, key, validation.IsQualifiedName(key))
	case subscript:
		e.invalid(at, path, "does not support subscript")
	case !slices.Contains(podFields, path):
		e.invalid(at.Child("fieldPath"), r.FieldPath, "error converting fieldPath: field label not supported: "+r.FieldPath)
	case !slices.Contains(supported, path):
		e.add(field.NotSupported(at.Child("fieldPath"), path, supported))
	}
}

// subscripted splits metadata.labels['key'].
func subscripted(path string) (_, key string, ok bool) {
	if rest, found := strings.CutSuffix(path, "']"); found {
		if path, key, ok := strings.Cut(rest, "['"); ok && path != "" {
			return path, key, true
		}
	}
	return path, "", false
}

var resourceFields = []string{ // never changed
	"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory",
}

var (
	cpuDivisors  = []string{"1m", "1"}                                                                         // never changed
	byteDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"} // never changed
)

func resourceFieldRef(e *problems, r *corev1.ResourceFieldSelector, volume bool, at *field.Path) {
	switch {
	case volume && r.ContainerName == "":
		e.required(at.Child("containerName"), "")
		return
	case r.Resource == "":
		e.required(at.Child("resource"), "")
		return
	}
	huge := strings.HasPrefix(r.Resource, "limits.hugepages-") || strings.HasPrefix(r.Resource, "requests.hugepages-")
	if !huge && !slices.Contains(resourceFields, r.Resource) {
		e.add(field.NotSupported(at.Child("resource"), r.Resource, resourceFields))
	}
	if r.Divisor.Cmp(resource.Quantity{}) == 0 {
		return
	}
	check := func(what string, divisors []string) {
		if !slices.Contains(divisors, r.Divisor.String()) {
			e.invalid(at.Child("divisor"), r.Resource, fmt.Sprintf(
				"only divisor's values %s are supported with the %s resource", series(divisors), what))
		}
	}
	_, name, _ := strings.Cut(r.Resource, ".")
	switch {
	case name == "cpu":
		check("cpu", cpuDivisors)
	case name == "memory":
		check("memory", byteDivisors)
	case name == "ephemeral-storage":
		check("local ephemeral storage", byteDivisors)
	case huge:
		check("hugepages", byteDivisors)
	}
}

// series joins words as a sentence does where there are two, and by commas else.
func series(words []string) string {
	if len(words) == 2 {
		return words[0] + " and " + words[1]
	}
	return strings.Join(words, ", ")
}
