from import_only import install

install(__name__)
