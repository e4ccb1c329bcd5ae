package table

import (
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var controllerRevision = show(
	columns(name,
		text("Controller", "What the revision is of."),
		text("Revision", "Number of the revision."),
		age),
	func(now time.Time, r *appsv1.ControllerRevision) []any {
		controller := none
		if ref := metav1.GetControllerOf(r); ref != nil {
			gk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind()
			controller = strings.ToLower(gk.String()) + "/" + ref.Name
		}
		return []any{r.Name, controller, r.Revision, since(now, r.CreationTimestamp)}
	},
)
