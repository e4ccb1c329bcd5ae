package informer

import (
	"time"

	"clipper/internal/scheme"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// feedInformer makes the informer of a feed.
type feedInformer struct {
	feed Feed
	row  *scheme.Resource
}

func fromFeed(feed Feed, row *scheme.Resource) feedInformer { return feedInformer{feed, row} }

// new is an internalinterfaces.NewInformerFunc.
func (i feedInformer) new(kubernetes.Interface, time.Duration) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(listWatch{i.feed}, i.row.New(), 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
}
