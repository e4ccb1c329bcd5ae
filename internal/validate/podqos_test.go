package validate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func askedFor(cpu, memory string) corev1.ResourceList {
	l := corev1.ResourceList{}
	if cpu != "" {
		l[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

func TestPodQOS(t *testing.T) {
	type r = corev1.ResourceRequirements
	full := r{Requests: askedFor("1", "1Gi"), Limits: askedFor("1000m", "1Gi")}
	for name, x := range map[string]struct {
		containers, init []r
		want             corev1.PodQOSClass
	}{
		"nothing":                {[]r{{}}, nil, corev1.PodQOSBestEffort},
		"zeros":                  {[]r{{Requests: askedFor("0", "0")}}, nil, corev1.PodQOSBestEffort},
		"other resources":        {[]r{{Requests: corev1.ResourceList{"ephemeral-storage": resource.MustParse("1Gi")}}}, nil, corev1.PodQOSBestEffort},
		"equal":                  {[]r{full}, nil, corev1.PodQOSGuaranteed},
		"limits alone":           {[]r{{Limits: askedFor("1", "1Gi")}}, nil, corev1.PodQOSGuaranteed},
		"requests alone":         {[]r{{Requests: askedFor("1", "1Gi")}}, nil, corev1.PodQOSBurstable},
		"cpu alone":              {[]r{{Requests: askedFor("1", ""), Limits: askedFor("1", "")}}, nil, corev1.PodQOSBurstable},
		"less requested":         {[]r{{Requests: askedFor("500m", "1Gi"), Limits: askedFor("1", "1Gi")}}, nil, corev1.PodQOSBurstable},
		"one of two":             {[]r{full, {}}, nil, corev1.PodQOSBurstable},
		"an init container less": {[]r{full}, []r{{}}, corev1.PodQOSBurstable},
		"all":                    {[]r{full, full}, []r{full}, corev1.PodQOSGuaranteed},
	} {
		p := &corev1.Pod{}
		for _, c := range x.containers {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Resources: c})
		}
		for _, c := range x.init {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Resources: c})
		}
		if got := PodQOS(p); got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
}
