"""The plugins that come with mccomd, registered by the same entry points as anybody's."""
