"""The shop's application; it has no pages."""

urlpatterns: list[object] = []
