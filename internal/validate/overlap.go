package validate

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// aFile is one that a volume is made of. from says of what, where a volume has
// several sources.
type aFile struct{ path, from string }

// overlaps warns of files of a volume that lie in each other's place.
func overlaps(v *corev1.Volume) (out []string) {
	what, files := volumeFiles(v)
	for i, f := range files {
		for _, g := range files[:i] {
			if f.path == g.path || strings.HasPrefix(f.path, g.path+"/") || strings.HasPrefix(g.path, f.path+"/") {
				out = append(out, fmt.Sprintf("volume %q (%s): overlapping paths: %q%s with %q%s", v.Name, what, f.path, f.from, g.path, g.from))
			}
		}
	}
	return out
}

func volumeFiles(v *corev1.Volume) (what string, files []aFile) {
	keys := func(items []corev1.KeyToPath, from string) {
		for _, item := range items {
			files = append(files, aFile{item.Path, from})
		}
	}
	fields := func(items []corev1.DownwardAPIVolumeFile, from string) {
		for _, item := range items {
			files = append(files, aFile{item.Path, from})
		}
	}
	switch {
	case v.ConfigMap != nil:
		what = fmt.Sprintf("ConfigMap %q", v.ConfigMap.Name)
		keys(v.ConfigMap.Items, "")
	case v.Secret != nil:
		what = fmt.Sprintf("Secret %q", v.Secret.SecretName)
		keys(v.Secret.Items, "")
	case v.DownwardAPI != nil:
		what = "DownwardAPI"
		fields(v.DownwardAPI.Items, "")
	case v.Projected != nil:
		what = "Projected"
		for _, s := range v.Projected.Sources {
			switch {
			case s.ConfigMap != nil:
				keys(s.ConfigMap.Items, fmt.Sprintf(" (ConfigMap %q)", s.ConfigMap.Name))
			case s.Secret != nil:
				keys(s.Secret.Items, fmt.Sprintf(" (Secret %q)", s.Secret.Name))
			case s.DownwardAPI != nil:
				fields(s.DownwardAPI.Items, " (DownwardAPI)")
			case s.ServiceAccountToken != nil:
				files = append(files, aFile{s.ServiceAccountToken.Path, " (ServiceAccountToken)"})
			}
		}
	}
	return what, files
}
