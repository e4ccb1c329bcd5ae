package table

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

var lease = show(
	columns(name, text("Holder", "Who holds the lease."), age),
	func(now time.Time, l *coordinationv1.Lease) []any {
		holder := ""
		if l.Spec.HolderIdentity != nil {
			holder = *l.Spec.HolderIdentity
		}
		return []any{l.Name, holder, since(now, l.CreationTimestamp)}
	},
)
