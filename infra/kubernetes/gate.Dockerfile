# The gate is one file (`npm run build:gate`); its image is Node and that file. NODE is an image with its digest.
ARG NODE
FROM ${NODE}
COPY dist/gate.mjs /gate.mjs
USER 65532:65532
ENTRYPOINT ["node", "/gate.mjs"]
